"""The page of the command line, written by Typer from the commands themselves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import typer.cli
from mkdocs.structure.files import File

from muad.cli.main import app

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PAGE = "commands.md"


def page() -> str:
    """Markdown of all commands: what each is for, its arguments and options with their defaults."""
    command: Any = typer.main.get_command(app)
    text = typer.cli.get_docs_for_click(obj=command, ctx=typer.Context(command), name="muad", title="Command line")
    return re.sub(r"^# `muad`", "# Command line", text, count=1)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the page first in the section Reference."""
    (reference,) = [entry["Reference"] for entry in config.nav or [] if "Reference" in entry]
    reference.insert(0, {"Command line": PAGE})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page, which is no file."""
    files.append(File.generated(config, PAGE, content=page()))
    return files
