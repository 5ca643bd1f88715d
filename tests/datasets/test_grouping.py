"""Which photographs show one part: by folders, by patterns of names, by lists; and which parts look the same."""

from pathlib import Path

import pytest

from muad.datasets.alike import whole_parts
from muad.datasets.grouping import Placed, grouping_of, place_all, with_places
from muad.errors import ConfigError, DataError
from muad.types import Record

BASE = Path("/data/parts")


@pytest.mark.parametrize(
    ("rule", "name", "part", "view"),
    [
        ("folder", "0001/top.png", "0001", "top"),
        ("folder", "line1/0001/top.png", "line1/0001", "top"),
        ("{object}_{view}", "a_b_top.jpg", "a_b", "top"),
        ("{object}_{view}", "line2/a_top.jpg", "line2/a", "top"),
        ("{view}/{object}", "left/0007.png", "0007", "left"),
        ("{view}_{object}", "left_00_7.png", "00_7", "left"),
        ("{object}_{view}_*", "0007_C1_20240131.png", "0007", "C1"),
        ("{object}/*_{view}_*", "S0001/cap_0001_NG_C3_2024.jpg", "S0001", "C3"),
        ("{object}.{view}.png", "0007.top.png", "0007", "top"),
        ("[{object}] ({view})", "[7] (top).png", "7", "top"),
    ],
)
def test_a_rule_finds_part_and_view(rule: str, name: str, part: str, view: str) -> None:
    assert grouping_of(rule).place(BASE / name, BASE) == Placed(part=part, view=view)


def test_a_folder_that_is_a_part_itself_is_named_by_its_own_name() -> None:
    assert grouping_of("folder").place(BASE / "0001/top.png", BASE / "0001") == Placed(part="0001", view="top")


def test_parts_of_the_same_name_in_two_folders_stay_apart() -> None:
    paths = [BASE / line / f"7_{view}.png" for line in ("line1", "line2") for view in ("top", "left")]
    assert {placed.part for placed in place_all("{object}_{view}", paths, BASE).values()} == {"line1/7", "line2/7"}


def test_what_does_not_fit_belongs_to_no_part() -> None:
    assert place_all("{object}_{view}", [BASE / "whole.png"], BASE) == {}


@pytest.mark.parametrize("rule", ["", "{object}", "{view}", "{object}_{object}_{view}", "views"])
def test_a_rule_without_part_and_view_once_each_is_refused(rule: str) -> None:
    with pytest.raises(ConfigError, match=r"\{object\} and \{view\} once each, got .*For instance"):
        grouping_of(rule)


def test_a_list_says_part_view_and_category_and_needs_no_labels(tmp_path: Path) -> None:
    manifest = tmp_path / "parts.csv"
    manifest.write_text("path,object_id,view,category\na.png,7,top,cap\nb.png,7,left,\nc.png,,top,\n", encoding="utf-8")
    found = place_all(str(manifest), [tmp_path / name for name in ("a.png", "b.png", "c.png", "d.png")], tmp_path)
    assert found == {
        tmp_path / "a.png": Placed(part="7", view="top", category="cap"),
        tmp_path / "b.png": Placed(part="7", view="left"),
    }


def test_a_list_that_names_a_photograph_twice_or_lacks_a_column_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "parts.csv"
    manifest.write_text("path,object_id,view\na.png,7,top\na.png,8,top\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"row 3 of .* must name an image of its own, got 'a.png' again"):
        grouping_of(str(manifest))
    manifest.write_text("path,view\na.png,top\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"must have the columns path, object_id, view .* none named object_id"):
        grouping_of(str(manifest))


def test_records_keep_what_the_data_set_says_where_the_rule_does_not_fit() -> None:
    records = [
        Record(path=BASE / name, category="cap", split="test", is_anomalous=False, object_id="x", view="y")
        for name in ("7_top.png", "whole.png")
    ]
    assert [(one.object_id, one.view) for one in with_places(records, "{object}_{view}", BASE)] == [
        ("7", "top"),
        ("x", "y"),
    ]


def test_parts_look_the_same_only_where_all_their_views_do() -> None:
    parts = [(name, view) for name in "abc" for view in ("top", "left")]
    top, left = [0, 2, 4], [1, 3, 5]
    assert whole_parts([left], parts) == []  # the plain side of every part looks like that of every other
    assert whole_parts([top, left], parts) == [[0, 1, 2, 3, 4, 5]]
    assert whole_parts([[0, 2], left], parts) == [[0, 1, 2, 3]]


def test_a_photograph_that_stands_alone_is_joined_with_all_it_looks_like() -> None:
    assert whole_parts([[0, 2]], [("a", "top"), ("a", "left"), None]) == [[0, 2]]
