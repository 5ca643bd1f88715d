"""What a data set holds, and what is wrong with it."""

import numpy as np
import pytest
from PIL import Image

from muad.datasets.index import open_catalog
from muad.datasets.summary import summarise


def test_counts_defect_types_masks_and_sizes(tree) -> None:
    tree.mvtec("bottle")
    tree.images("bottle/test/stain", ["0.png"])
    Image.new("L", (20, 4)).save(tree.root / "bottle/test/stain/0.png")
    train, test = summarise(open_catalog(tree.root)).splits
    assert (train.category, train.split, train.normal, train.anomalous) == ("bottle", "train", 3, 0)
    assert (test.normal, test.anomalous, test.with_mask) == (2, 4, 3)
    assert test.defect_types == ("hole", "scratch", "stain")
    assert (train.smallest_px, train.largest_px) == ((6, 8), (6, 8))
    assert (test.smallest_px, test.largest_px) == ((4, 8), (6, 20))


def test_unreadable_images_are_listed_and_the_rest_is_summarised(tree) -> None:
    tree.mvtec("bottle")
    tree.text("bottle/train/good/broken.png", "")
    summary = summarise(open_catalog(tree.root))
    assert summary.splits[0].normal == 4
    assert summary.splits[0].largest_px == (6, 8)
    assert len(summary.problems) == 1
    assert "broken.png must not be empty" in summary.problems[0]


def test_only_decoding_finds_what_the_header_does_not_show(tree) -> None:
    tree.mvtec("bottle")
    tree.masks("bottle/ground_truth/hole", ["000_mask.png"], value=1)
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tree.root / "bottle/ground_truth/scratch/000_mask.png")
    cut = tree.root / "bottle/train/good/000.png"
    cut.write_bytes(cut.read_bytes()[:48])
    catalog = open_catalog(tree.root)
    assert summarise(catalog).problems == ()
    problems = summarise(catalog, check_files=True).problems
    assert [next(part for part in ("damaged", "size", "half") if part in problem) for problem in problems] == [
        "damaged", "half", "size",
    ]  # fmt: skip


def test_notes_and_layout_are_carried_over(tree) -> None:
    tree.visa()
    catalog = open_catalog(tree.root)
    summary = summarise(catalog)
    assert (summary.layout, summary.notes) == ("visa", catalog.notes)


@pytest.mark.shared
def test_every_shared_file_decodes_and_every_mask_marks_a_defect(shared_dir) -> None:
    summary = summarise(open_catalog(shared_dir / "data"), check_files=True)
    assert summary.problems == ()
    assert summary.published == ()
    assert [(split.category, split.normal + split.anomalous) for split in summary.splits if split.split == "test"] == [
        ("magnetic_tile", 230), ("metal_plate", 97), ("screw", 160),
    ]  # fmt: skip
