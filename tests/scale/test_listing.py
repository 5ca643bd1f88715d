"""What a large job judges: folders, addresses and lists, with rows that are wrong."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from muad.errors import DataError
from muad.outputs import find_images
from muad.scale.listing import list_images


def _paths(places: list[str], out: str = "/nowhere/out") -> list[str]:
    return [image.address for image in list_images(places, out).images]


def test_a_folder_is_listed_as_by_one_process_with_the_same_names(many: Path) -> None:
    listed = list_images([str(many)], "/nowhere/out").images
    assert [(one.address, one.name) for one in listed] == [
        (one.path.as_posix(), one.name.as_posix()) for one in find_images([many])
    ]


def test_an_address_holds_what_the_folder_holds(many: Path) -> None:
    assert _paths([f"file://{many}"]) == [f"file://{path}" for path in sorted(_paths([str(many)]))]
    one = f"file://{many}/bolt/000.png"
    assert _paths([one, one]) == [one]


def test_pictures_of_a_job_and_hidden_files_are_no_photographs(many: Path, tmp_path: Path) -> None:
    for name in ("a.png", ".hidden/a.png", "out/overlays/a.png", "other/maps/a.png", "maps/a.png"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    (tmp_path / "other" / "muad-job.json").write_text("{}", encoding="utf-8")
    wanted = [str(tmp_path / "a.png"), str(tmp_path / "maps" / "a.png")]
    assert sorted(_paths([str(tmp_path)], str(tmp_path / "out"))) == wanted
    assert _paths([f"file://{tmp_path}"], f"file://{tmp_path}/out") == [f"file://{name}" for name in wanted]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_three_wrong_rows_of_many_are_told_in_a_line_and_the_others_judged(tmp_path: Path, delimiter: str) -> None:
    lines = [
        delimiter.join(("path", "category", "line")),
        *(f"p/{n}.png{delimiter}bolt{delimiter}7" for n in range(1000)),
    ]
    lines[10] = f"{delimiter}bolt{delimiter}7"
    lines[20] = f'"p/open.png{delimiter}bolt{delimiter}7'
    lines[30] = "p/short.png"
    file = tmp_path / "list.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    listing = list_images([str(file)], str(tmp_path / "out"))
    assert len(listing.images) == 997
    assert listing.images[0].address == f"{tmp_path}/p/0.png"
    assert {image.category for image in listing.images} == {"bolt"}
    assert listing.notes == (f"{file}: 3 rows have no usable path and are left out (rows 11, 21, 31)",)


def test_a_parquet_list_says_the_same(tmp_path: Path) -> None:
    paths = ["a.png", None, "s3://bucket/b.png", "/c.png", ""]
    parquet.write_table(
        pa.table({"path": paths, "category": ["bolt", "bolt", None, "", "x"]}), tmp_path / "list.parquet"
    )
    listing = list_images([f"{tmp_path}/list.parquet"], str(tmp_path / "out"))
    assert [(image.address, image.category) for image in listing.images] == [
        (f"{tmp_path}/a.png", "bolt"), ("s3://bucket/b.png", None), ("/c.png", None)
    ]  # fmt: skip
    assert "2 rows have no usable path and are left out (rows 2, 5)" in listing.notes[0]


def test_names_of_outputs_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path\n/a/x/y/z/1.png\n/b/x/y/z/1.png\n/b/x/y/z/1.jpg\n", encoding="utf-8")
    names = [image.name for image in list_images([f"{tmp_path}/list.csv"], "out").images]
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    ("place", "content", "told"),
    [
        ("list.csv", b"", "must have a column path, got none"),
        ("list.csv", b"file,category\n", "must have a column path, got file, category"),
        ("list.csv", b"path\n\n", "must hold photographs, got none"),
        ("list.parquet", b"no parquet", "must be CSV or Parquet that can be read"),
        ("missing.csv", None, "must be CSV or Parquet that can be read"),
        ("unheard-of://place", None, "must be an address that can be read"),
        ("missing", None, "must be an existing image or folder"),
    ],
)
def test_a_place_that_cannot_be_used_is_named_in_a_line(
    place: str, content: bytes | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(place).write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        list_images([place], "out")
    assert place in str(caught.value)
    assert "\n" not in str(caught.value)
