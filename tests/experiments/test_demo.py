"""The demo's sheet of pictures, and that what is already there is reused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muad import Predictor, open_catalog
from muad.configuration.run_config import load_config
from muad.experiments.demo import FULL, QUICK, draw_examples, judge_examples
from muad.toy_factory import PRODUCTS


@pytest.mark.parametrize("run", ["tiny_run", "tiny_runs"])
def test_the_sheet_has_a_row_per_category_and_a_column_per_kind(
    run: str, tiny_data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    records = open_catalog(tiny_data).select(split="test")
    kinds = {record.category: {other.defect_type for other in records if other.category == record.category}
             for record in records}  # fmt: skip
    predictor = Predictor(request.getfixturevalue(run), device="cpu")
    draw_examples(judge_examples(predictor, records), tmp_path / "new" / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "new" / "sheet.png"))
    cell = 196  # 192 px and a frame of 2
    title = 38
    assert sheet.shape == (2 * (title + 2 * cell), max(map(len, kinds.values())) * cell, 3)
    titles = [sheet[:title, column * cell : (column + 1) * cell] for column in range(2)]
    assert all((part < 100).any() for part in titles)  # something is written there
    assert not (titles[0] == titles[1]).all()  # of another defect
    sheet = sheet[title:]
    overlay = sheet[cell + 2 : 2 * cell - 2, cell + 2 : 2 * cell - 2]
    assert (overlay == 255).all(axis=2).any()  # the outline of a true defect
    assert not (overlay == sheet[2 : cell - 2, cell + 2 : 2 * cell - 2]).all()


def test_the_quick_demo_is_the_demo_with_less_of_it_and_still_has_limits() -> None:
    config = load_config("toy-factory", QUICK.overrides)
    assert config.detector.name == load_config("toy-factory").detector.name
    assert set(QUICK.categories or ()) < set(PRODUCTS)
    assert (QUICK.train, QUICK.test_normal, QUICK.test_per_defect) < (
        FULL.train,
        FULL.test_normal,
        FULL.test_per_defect,
    )
    assert QUICK.train * config.training.calibration_share >= 19  # so many carry a limit at 5 %
