"""The site: every page is in it, it is built without a warning, and it asks nothing of the network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NETWORK = re.compile(r"""(?:<script[^>]*\ssrc|<link[^>]*\shref|<img[^>]*\ssrc|url\(|@import)\s*=?\s*["'(]*https?://""")
SITECUSTOMIZE = """
import socket
def refuse(*where): raise OSError(f"the site must be built without the network, got {where}")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
"""


def pages_by_section() -> dict[str, list[str]]:
    """What docs/index.md lists, read as website/navigation.py reads it."""
    listed = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").partition("\n## All pages\n")[2]
    sections = re.split(r"^### (.+)$", listed, flags=re.MULTILINE)[1:]
    return {
        name: re.findall(r"^\| \[[^\]]+\]\(([\w-]+\.md)\)", rows, flags=re.MULTILINE)
        for name, rows in zip(sections[::2], sections[1::2], strict=True)
    }


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly by a process that has no network."""
    pytest.importorskip("mkdocs", reason="the site needs pip install 'muad[docs]'")
    place = tmp_path_factory.mktemp("site")
    (place / "cut").mkdir()
    (place / "cut" / "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
    paths = os.pathsep.join([str(place / "cut"), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place / "html")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": paths, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "html"


def test_every_page_is_listed_once_and_in_a_section() -> None:
    sections = pages_by_section()
    listed = [page for pages in sections.values() for page in pages]
    there = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    missing = sorted(there - set(listed))
    assert not missing, (
        f"{', '.join(missing)} must be listed in docs/index.md, below 'All pages', as a row "
        f"| [Title](page.md) | what it tells | of the section where its reader looks: {', '.join(sections)}"
    )
    assert sorted(listed) == sorted(there)


def test_pages_for_people_come_before_pages_of_proof() -> None:
    assert list(pages_by_section()) == ["Start", "On the line", "For researchers", "Reference", "Evidence"]


def test_the_site_has_every_page_and_those_that_are_written_from_the_program(site: Path) -> None:
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} | {"commands", "http-api", "python-api"}
    assert {page for page in pages if not (site / f"{page}.html").is_file()} == set()


def test_the_site_asks_nothing_of_the_network(site: Path) -> None:
    asking = {
        file.relative_to(site).as_posix(): NETWORK.findall(file.read_text(encoding="utf-8"))
        for file in (*site.rglob("*.html"), *site.rglob("*.css"))
    }
    assert {name: found for name, found in asking.items() if found} == {}
    assert (site / "search" / "search_index.json").is_file()


def test_reference_pages_say_what_the_program_says(site: Path) -> None:
    commands, http, python = (
        (site / f"{page}.html").read_text(encoding="utf-8") for page in ("commands", "http-api", "python-api")
    )
    assert "muad station backup" in commands
    assert "--false-alarm-rate" in commands
    assert "/v1/inspections/{inspection_id}/word" in http
    assert "idempotency_key" in http
    assert "muad.Predictor" in python
    assert "false_alarm_rate" in python
