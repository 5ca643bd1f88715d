"""The site's navigation, read from docs/index.md: its sections under "All pages", in the order of their rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

INDEX = Path(__file__).resolve().parents[1] / "docs" / "index.md"
_ROW = re.compile(r"^\| \[([^\]]+)\]\(([\w-]+\.md)\)")
_BY_FILE = re.compile(r"\[([\w-]+\.md)\]\(\1((?:#[\w-]+)?)\)")


def sections(index: str) -> dict[str, list[tuple[str, str]]]:
    """The pages of each section as (title, file).

    Args:
        index: Text of docs/index.md. A section is a heading of the third level below "All pages"; a page is a row whose
            first cell links to it.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    _, _, listed = index.partition("\n## All pages\n")
    for line in listed.splitlines():
        if line.startswith("### "):
            found[line.removeprefix("### ").strip()] = []
        elif row := _ROW.match(line):
            list(found.values())[-1].append((row[1], row[2]))
    return found


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Hand MkDocs the sections; a page that is linked by its file's name is called by its own heading."""
    nav: list[Any] = [{"muad": "index.md"}]
    for section, pages in sections(INDEX.read_text(encoding="utf-8")).items():
        nav.append({section: [file if title == file else {title: file} for title, file in pages]})
    config.nav = nav
    return config


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Call other pages by their titles where the text, which is also read without the site, has their files' names."""
    listed = sections(INDEX.read_text(encoding="utf-8")).values()
    titles = {file: title for pages in listed for title, file in pages if title != file}
    return _BY_FILE.sub(lambda link: f"[{titles.get(link[1], link[1])}]({link[1]}{link[2]})", markdown)
