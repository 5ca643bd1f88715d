"""The page to leaf through: everything inside, names harmless, links that hold."""

import json
import os
import re
from pathlib import Path
from urllib.parse import unquote

from muad.outputs.page import page_row, write_results_page

ENTRY = {
    "path": "", "category": "bolt", "verdict": "reject", "score": 0.5, "p_value": 0.01, "review_above": 0.2,
    "reject_above": 0.4, "highest": {"peak": 0.7, "peak_at": [3, 4]}, "reason": None, "notice": None, "error": None,
    "overlay": None,
}  # fmt: skip


def _data(page: Path) -> list[dict[str, object]]:
    text = page.read_text(encoding="utf-8")
    (inside,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, flags=re.DOTALL)
    data = json.loads(inside)
    return [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    out = tmp_path / "<b>@@data@@"
    out.mkdir()
    name = "</script><script>alert(1)</script>.png"
    page = write_results_page(out, [page_row(ENTRY | {"path": name, "notice": "<img src=x onerror=alert(2)>"}, out)])
    text = page.read_text(encoding="utf-8")
    assert text.count("</script>") == 2
    assert "<b>@@" not in text
    assert "&lt;b&gt;@@data@@" in text
    assert "innerHTML" not in text
    assert _data(page)[0]["path"] == name


def test_links_are_relative_and_lead_to_the_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    name = "50 % # süß?.png"
    for file in (out / "overlays" / name, tmp_path / "photos" / name):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    entry = ENTRY | {"path": (tmp_path / "photos" / name).as_posix(), "overlay": f"overlays/{name}"}
    (row,) = _data(write_results_page(out, [page_row(entry, out)]))
    for link in (row["overlay"], row["original"]):
        assert isinstance(link, str)
        assert not {"#", "?", " "} & set(link)
        assert (out / unquote(link)).is_file()


def test_the_page_needs_nothing_from_elsewhere_and_takes_names_that_are_no_text(tmp_path: Path) -> None:
    rows = [page_row(ENTRY | {"path": os.fsdecode(b"a\xff.png"), "score": None, "highest": None}, tmp_path)]
    page = write_results_page(tmp_path, rows)
    assert not re.findall(r"https?:|@import|url\(", page.read_text(encoding="utf-8"))
    assert _data(page)[0]["path"] == "a\\xff.png"
    assert _data(write_results_page(tmp_path, [])) == []
