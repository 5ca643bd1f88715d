"""What is said of few photographs is what docs/few-shot.md has in its table."""

import re
from pathlib import Path

from muad.advice.few_shots import EXPECTED, EXPECTED_OF_MANY, FEW, MANY, expectations
from muad.calibration.share import LEAST_IMAGES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "few-shot.md").read_text(encoding="utf-8")


def test_the_figures_are_those_of_the_page() -> None:
    table = PAGE.partition("Three of them at 280 px")[2]
    rows = dict(
        re.findall(r"^\| memory \| (\w+) \| ([\d.± ]+) \|", table.partition("Image AUROC of each")[0], re.MULTILINE)
    )
    stated = {str(shots): f"{100 * mean:.1f} ± {100 * spread:.1f}" for shots, (mean, spread) in EXPECTED.items()}
    assert rows == {**stated, "all": f"{100 * EXPECTED_OF_MANY:.1f}"}
    assert f"{MANY} good training" in PAGE


def test_few_are_those_of_which_none_is_kept_and_the_nearest_smaller_count_is_quoted() -> None:
    assert FEW == LEAST_IMAGES
    assert expectations({"bolt": 10, "cloth": 200}) is None
    said = expectations({"bolt": 7, "cloth": 200})
    assert said is not None
    assert said.startswith("few photographs (bolt 7): of three rendered products a memory of 4 photographs each")
    assert said.endswith("--cross-fit 7 gives a review limit that one good part in 8 exceeds, assumed, not proven.")
    alone = expectations(dict.fromkeys("abcdef", 1))
    assert alone is not None
    assert "(a 1, b 1, c 1, d 1 and 2 more)" in alone
    assert alone.endswith("Limits need other good photographs: muad calibrate RUN GOOD_IMAGES.")
