"""What a run folder tells of its settings; a damaged file is one line that names the key."""

import shutil
from pathlib import Path

import pytest

from muad.checkpoints.checkpoint import read_config
from muad.errors import CheckpointError, ConfigError
from muad.runs.settings import run_settings


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def test_it_tells_what_the_whole_configuration_says(run: Path) -> None:
    told, config = run_settings(run), read_config(run)
    assert (told.detector.name, told.encoder) == (config.detector.name, config.encoder_name)
    assert (told.detector.resize_px, told.looked_at_px) == (config.detector.resize_px, config.detector.crop_px)
    assert told.schedule.total_steps == config.schedule.total_steps
    assert (told.images, told.published) == (config.images, config.published)


def test_a_detector_without_crop_and_encoder_looks_at_all_of_it(run: Path) -> None:
    (run / "config.toml").write_text(
        '[detector]\nname = "diffusion_ad"\nresize_px = [64, 96]\n[schedule]\ntotal_steps = 3\n', encoding="utf-8"
    )
    told = run_settings(run)
    assert (told.looked_at_px, told.encoder, told.images.tiles) == ((64, 96), None, (1, 1))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("total_steps = 12", 'total_steps = "12"', "schedule.total_steps must be"),
        ("total_steps = 12", "total_steps = 0", "schedule.total_steps must be"),
        ("[schedule]", "[other]", "must hold 'schedule'"),
        ("[published]", "[published]\nimage_auroc = 99.6", "published.image_auroc must be from 0 to 1, got 99.6"),
        ("[published]", "[published", "config.toml must be readable"),
        ("[schedule]", "\x00", "config.toml must be readable"),
    ],
)
def test_what_is_no_setting_is_told_with_its_place(run: Path, old: str, new: str, says: str) -> None:
    file = run / "config.toml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        run_settings(run)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value).replace("(", "").split(". Restore")[0]


def test_a_bad_table_of_images_is_told_as_in_a_recipe(run: Path) -> None:
    file = run / "config.toml"
    file.write_text(file.read_text(encoding="utf-8").replace('fit = "stretch"', 'fit = "squeeze"'), encoding="utf-8")
    with pytest.raises(ConfigError, match="fit must be"):
        run_settings(run)


def test_a_missing_file_is_told(run: Path) -> None:
    (run / "config.toml").unlink()
    with pytest.raises(CheckpointError, match=r"config\.toml must be readable"):
        run_settings(run)
