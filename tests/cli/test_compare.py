"""`muad compare` as a user has it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

SMALL = ("--encoders", "random-vit-tiny", "--image-px", 56, "--device", "cpu", "--seeds", 1)


def test_photographs_without_defects_are_compared_by_cost(
    muad: Callable[..., Any], tiny_data: Path, tmp_path: Path
) -> None:
    product = tmp_path / "data" / "blister"
    for split, source in (("train", "train"), ("test", "test")):
        for number, path in enumerate(sorted((tiny_data / "pill_blister" / source / "good").glob("*.png"))):
            target = product / split / "good" / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).save(target)
    done = muad("compare", tmp_path / "data", "--out", tmp_path / "out", "--detectors", "patchcore", *SMALL)
    assert done.code == 0, done.err
    assert "no defective test image: no AUROC and no ranking" in done.err
    assert "nothing says which detector is better" in done.err
    assert f"page: {tmp_path / 'out' / 'compare.html'}" in done.err
    assert "patchcore-random-vit-tiny" in done.out
    assert "one look" in done.out


def test_an_unknown_detector_is_one_line(muad: Callable[..., Any], tiny_data: Path, tmp_path: Path) -> None:
    done = muad("compare", tiny_data, "--out", tmp_path / "out", "--detectors", "patchcore,rd5ad")
    assert done.error.startswith("detector.name must be one of dinomaly")
