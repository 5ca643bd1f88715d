"""The page of the Python interface: what `import muad` offers, from its docstrings by mkdocstrings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mkdocs.structure.files import File

import muad

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PAGE = "python-api.md"
_HEAD = """# Python API

What `import muad` offers. A walk through it with examples is [python.md](python.md). Faults of input and settings are
`muad.MuadError`s with a message of one line.
"""


def page() -> str:
    """Markdown that asks mkdocstrings for every public name, verbs first, in the order of the alphabet."""
    names = [name for name in muad.__all__ if not name.startswith("_")]
    lines = [_HEAD]
    for name in sorted(names, key=lambda name: (name[0].isupper(), name)):
        where = getattr(muad, name)
        lines.append(f"::: {where.__module__}.{where.__qualname__}\n    options:\n      heading: muad.{name}\n")
    return "\n".join(lines)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the page first in the section Reference."""
    (reference,) = [entry["Reference"] for entry in config.nav or [] if "Reference" in entry]
    reference.insert(0, {"Python API": PAGE})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page, which is no file."""
    files.append(File.generated(config, PAGE, content=page()))
    return files
