"""The layout is recognised, or what was looked for is told."""

from pathlib import Path

import pytest

from muad.datasets.index import LAYOUTS, open_catalog
from muad.errors import ConfigError, DataError


@pytest.mark.parametrize("layout", ["mvtec", "visa", "real_iad", "dagm"])
def test_every_published_layout_is_recognised_and_named(tree, layout: str) -> None:
    {"mvtec": lambda: tree.mvtec("a"), "visa": tree.visa, "real_iad": tree.real_iad, "dagm": tree.dagm}[layout]()
    recognised = open_catalog(tree.root)
    assert recognised.layout == layout
    assert recognised.notes[0].startswith(f"Recognised {tree.root} as layout {layout}")
    assert recognised.records == open_catalog(tree.root, layout).records


def test_aliases_give_the_layout_they_share(tree) -> None:
    tree.mvtec("tubes")
    assert LAYOUTS["mpdd"] is LAYOUTS["btad"] is LAYOUTS["mvtec"]
    assert open_catalog(tree.root, "mpdd").layout == "mvtec"


def test_an_unknown_layout_gets_the_list_and_the_closest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"layout must be one of auto, btad, .*got 'mvtecad'.* Did you mean 'mvtec'"):
        open_catalog(tmp_path, "mvtecad")


def test_when_nothing_fits_everything_looked_for_is_listed(tree) -> None:
    tree.text("notes.txt", "no images here")
    with pytest.raises(DataError) as caught:
        open_catalog(tree.root)
    message = str(caught.value)
    assert all(layout.looks_for in message for layout in LAYOUTS.values())
    assert message.count("<category>/train/good/") == 1
    assert "\n" not in message


def test_a_data_set_one_folder_deeper_is_pointed_out(tree) -> None:
    tree.mvtec("release/bottle")
    with pytest.raises(DataError, match=r"Perhaps name the folder inside: .*release looks like mvtec"):
        open_catalog(tree.root)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere must exist"):
        open_catalog(tmp_path / "nowhere")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_bytes(b"x")
    with pytest.raises(DataError, match="must hold images, got an empty folder"):
        open_catalog(tmp_path)


@pytest.mark.parametrize("layout", ["mvtec", "real_iad", "dagm", "folder", "visa"])
def test_a_layout_that_does_not_fit_is_refused(tree, layout: str) -> None:
    tree.text("notes.txt", "no images here")
    with pytest.raises(DataError):
        open_catalog(tree.root, layout)


def test_a_file_and_a_folder_are_not_mixed_up(tree) -> None:
    tree.mvtec("bottle")
    manifest = tree.text("list.csv", "path,category,label\n")
    with pytest.raises(DataError, match="layout mvtec must be read from a folder"):
        open_catalog(manifest, "mvtec")
    with pytest.raises(DataError, match="layout manifest must be read from a file"):
        open_catalog(tree.root, "manifest")


def test_training_images_are_required_only_for_training(tree) -> None:
    tree.mvtec("bottle")
    tree.images("cable/test/good", ["0.png"])
    with pytest.raises(DataError, match="must have normal training images, got none for cable"):
        open_catalog(tree.root)
    assert open_catalog(tree.root, for_training=False).categories == ("bottle", "cable")


def test_a_catalog_is_the_same_every_time(tree) -> None:
    tree.mvtec("bottle")
    assert open_catalog(tree.root) == open_catalog(tree.root)
