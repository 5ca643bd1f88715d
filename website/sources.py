"""Pages link to files outside docs/, such as the examples: on the site each of them is a page that shows the file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\]\(\.\./([^)#\s]+)\)")
_LANGUAGES = {".py": "python", ".toml": "toml", ".sh": "bash", ".cs": "csharp", ".cpp": "cpp", ".hpp": "cpp"}


def shown(name: str) -> str:
    """The site's page of a file of the project, by the file's way from the project's root."""
    return f"source/{name}" if name.endswith(".md") else f"source/{name}.md"


def _page(name: str) -> str:
    text = (ROOT / name).read_text(encoding="utf-8")
    if name.endswith(".ipynb"):
        text = _notebook(text)
    elif not name.endswith(".md"):
        text = f"# {name}\n\n~~~~{_LANGUAGES.get(Path(name).suffix, 'text')}\n{text}\n~~~~\n"
    return f"---\nsearch:\n  exclude: true\n---\n{text}"


def _notebook(text: str) -> str:
    """Its prose as it is, its code as blocks of Python."""
    cells = [("".join(cell["source"]), cell["cell_type"]) for cell in json.loads(text)["cells"]]
    return "\n\n".join(f"~~~~python\n{own}\n~~~~" if kind == "code" else own for own, kind in cells) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file that some page links to."""
    pages = [page.content_string for page in files.documentation_pages()]
    for name in sorted({name for text in pages for name in _LINK.findall(text)}):
        files.append(File.generated(config, shown(name), content=_page(name), inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Let links to files of the project lead to those pages."""
    return _LINK.sub(lambda link: f"]({shown(link[1])})", markdown)
