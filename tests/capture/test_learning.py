"""From the training images of a run to its `capture.toml`, and from there to verdicts."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from muad import Predictor, calibrate, learn_capture
from muad.capture import CAPTURE_FILE, NOT_CHECKED, has_capture
from muad.checkpoints.checkpoint import create_run, read_config
from muad.datasets.index import open_catalog
from muad.errors import ConfigError, DataError
from muad.images.reading import read_image
from muad.runs.folder import read_run
from muad.toy_factory import write_toy_factory


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of one product of the run, large enough to be blurred."""
    folder = tmp_path_factory.mktemp("factory") / "data"
    write_toy_factory(
        folder, image_px=160, train_per_category=16, test_normal=4, test_per_defect=1, categories=["printed_board"]
    )
    return folder


@pytest.fixture(scope="module")
def knowing(tiny_run: Path, factory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that passes every score of a printed board, and has learned how it is photographed."""
    run = Path(copytree(tiny_run, tmp_path_factory.mktemp("knowing") / "run"))
    (run / "products.toml").unlink()
    (run / "limits.toml").write_text("[categories.printed_board]\nreview = 1e9\n", encoding="utf-8")
    learn_capture(run, open_catalog(factory).select(split="train"))
    return run


def _blurred(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), 2)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda image: (image * 0.5).astype(np.uint8), "too dark"),
        (lambda image: np.clip(image * 2.0, 0, 255).astype(np.uint8), "too bright"),
        (lambda image: (image * 0.3 + 60).astype(np.uint8), "low contrast"),
        (_blurred, "blurred"),
        (np.zeros_like, "no content"),
        (lambda image: np.full_like(image, 255), "no content"),
        (lambda image: np.concatenate([image[:60], np.full_like(image[60:], 90)]), "no content"),
    ],
)
def test_a_photograph_taken_otherwise_does_not_pass(
    fault: Callable[[np.ndarray], np.ndarray], expected: str, knowing: Path, factory: Path
) -> None:
    predictor = Predictor(knowing, device="cpu")
    for path in sorted(factory.glob("printed_board/test/good/*.png"))[:2]:
        good, wrong = predictor.predict([read_image(path), fault(read_image(path))], category="printed_board")
        assert (good.verdict, good.reason) == ("pass", None)
        assert wrong.verdict == "review"
        words = [reason.what for reason in wrong.reasons]
        assert expected in words
        assert len(words) == len(set(words))


def test_training_learns_it_for_every_product_with_enough_images_and_says_so(
    train_tiny: Callable[..., Any], photos: Path, tmp_path: Path
) -> None:
    data = Path(copytree(photos, tmp_path / "data"))
    random = np.random.default_rng(0)
    for number in range(5, 12):
        pixels = random.integers(60, 180, (60, 64, 3), np.uint8)
        Image.fromarray(pixels).save(data / "bolt/train/good" / f"{number}.png")
    said: list[str] = []
    run = tmp_path / "run"
    train_tiny(run, data=data, note=said.append)
    assert [line for line in said if line.startswith("capture: ")] == [
        "capture: good photographs flagged for light or sharpness, at most: bolt 7.7 % (capture.toml)",
        "capture: good images a rate of 0.5 % still needs: bolt 187",
        "capture: light and sharpness are not checked for cloth: that needs 9 good images each",
    ]
    text = (run / CAPTURE_FILE).read_text(encoding="utf-8")
    assert "# 12 good photographs: at most 7.7 % of good ones are flagged\nbrightness = {at_least = " in text
    assert "[categories.cloth]\n# no limits: they need 9 good photographs" in text
    written = (run / CAPTURE_FILE).stat().st_mtime_ns
    train_tiny(run, data=data, resume=True)
    assert (run / CAPTURE_FILE).stat().st_mtime_ns == written


def test_an_edited_limit_holds_and_an_edited_rate_stays(knowing: Path, factory: Path, tmp_path: Path) -> None:
    run = Path(copytree(knowing, tmp_path / "run"))
    text = (run / CAPTURE_FILE).read_text(encoding="utf-8").replace("capture_rate = 0.005", "capture_rate = 0.1")
    lines = [line for line in text.splitlines() if not line.startswith(("brightness", "highlights"))]
    (run / CAPTURE_FILE).write_text("\n".join(lines), encoding="utf-8")
    image = read_image(factory / "printed_board/test/good/000.png")
    (dim,) = Predictor(run, device="cpu").predict((image * 0.8).astype(np.uint8), category="printed_board")
    assert dim.reason is None
    records = open_catalog(factory).select(split="train")
    learned = learn_capture(run, records)
    assert learned is not None
    assert learned.rate == 0.1
    assert "capture_rate = 0.1\n" in (run / CAPTURE_FILE).read_text(encoding="utf-8")
    assert "at most 10 % of good ones are flagged" in (run / CAPTURE_FILE).read_text(encoding="utf-8")
    again = learn_capture(run, records, capture_rate=0.02)
    assert again is not None
    assert again.rate == 0.02
    with pytest.raises(ConfigError, match=r"capture_rate must be above 0 and at most 0\.1, got 0"):
        learn_capture(run, records, capture_rate=0)


def test_a_run_from_before_says_once_what_is_not_checked_and_predicts_as_it_did(
    tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    run, said = Path(copytree(tiny_run, tmp_path / "run")), []
    (run / CAPTURE_FILE).unlink()
    path = tiny_data / "printed_board/test/good/000.png"
    before = Predictor(run, device="cpu", note=said.append).predict([path, path])
    assert said == [NOT_CHECKED]
    (now,) = Predictor(tiny_run, device="cpu").predict(path)
    assert before[0].score == now.score
    assert [found.reason for found in before] == [None, None]


def test_calibrating_a_run_from_before_adds_it_where_the_images_are(
    tiny_run: Path, tiny_data: Path, factory: Path, tmp_path: Path
) -> None:
    run, said = Path(copytree(tiny_run, tmp_path / "run")), []
    (run / CAPTURE_FILE).unlink()
    good = Path(copytree(tiny_data / "printed_board/test/good", tmp_path / "printed_board"))
    calibrate(run, good, false_alarm_rate=0.3, review_rate=0.3, device="cpu", note=said.append)
    assert has_capture(run)
    assert NOT_CHECKED not in said
    (run / CAPTURE_FILE).unlink()
    facts = read_run(run)
    create_run(run, read_config(run), {**facts, "data": str(tmp_path / "gone")})
    with pytest.raises(DataError):
        learn_capture(run)
    calibrate(run, false_alarm_rate=0.3, review_rate=0.4, device="cpu", note=said.append)
    assert not has_capture(run)
    assert any("because the training images are not there" in line for line in said)


def test_measuring_and_judging_load_no_torch() -> None:
    code = "import muad.capture, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
