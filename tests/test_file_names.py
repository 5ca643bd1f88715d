"""Names that every file system can write: what is refused, what is changed, what would be one."""

import ntpath
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muad.errors import CheckpointError
from muad.file_names import first_clash, name_fault, safe_part
from muad.runs.folder import category_folders


@pytest.mark.parametrize(
    "name",
    [
        "CON",
        "nul",
        "Aux.txt",
        "com1",
        "LPT9.a.b",
        "conin$",
        "NUL .txt",
        "a.",
        "a ",
        ".",
        "..",
        "a:b",
        "a\\b",
        "",
        "x" * 181,
    ],
)
def test_what_windows_cannot_write_is_refused_and_made_safe(name: str) -> None:
    assert name_fault(name) is not None
    if name:
        assert name_fault(safe_part(name)) is None


@pytest.mark.parametrize(
    "name", ["bolt", "bolt M8", "con1", "console", "nulls", "common", ".hidden", "ä", "light=0.8", "a.b"]
)
def test_usual_names_stay(name: str) -> None:
    assert name_fault(name) is None
    assert safe_part(name) == name


@given(st.text(min_size=1, max_size=300))
def test_a_safe_name_is_one_that_pythons_windows_paths_keep_as_it_is(text: str) -> None:
    safe = safe_part(text)
    assert name_fault(safe) is None
    path = PureWindowsPath("C:\\run") / safe
    assert path.parts == ("C:\\", "run", safe)
    reserved = getattr(ntpath, "isreserved", None)
    assert not (reserved(safe) if reserved else path.is_reserved())


def test_names_that_differ_by_case_or_composition_alone_clash() -> None:
    assert first_clash(["bolt", "nut", "Bolt"]) == ("bolt", "Bolt")
    assert first_clash(["gro\u00df", "GROSS"]) == ("gro\u00df", "GROSS")
    assert first_clash(["\u00e4", "a\u0308"]) == ("\u00e4", "a\u0308")
    assert first_clash(["bolt", "bolts"]) is None


def test_categories_that_cannot_be_folders_everywhere_are_refused_before_a_training_of_each() -> None:
    assert category_folders(Path("run"), ["nut", "bolt"]) == {
        "nut": Path("run/categories/nut"),
        "bolt": Path("run/categories/bolt"),
    }
    with pytest.raises(CheckpointError, match=r"got 'aux': Windows keeps that name for a device\. Rename it\."):
        category_folders(Path("run"), ["aux"])
    with pytest.raises(CheckpointError, match="must differ by more than case in per_category mode, got 'a' and 'A'"):
        category_folders(Path("run"), ["a", "A"])
