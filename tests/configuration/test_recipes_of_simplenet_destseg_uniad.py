"""Recipes of SimpleNet, DeSTSeg and UniAD: they print what they compare with, and are what their names say."""

import dataclasses
import re

import pytest

from muad.configuration.recipe_files import recipe_names, recipe_text
from muad.configuration.run_config import load_config

NAMES = [name for name in recipe_names() if name.startswith(("simplenet-", "destseg-", "uniad-"))]


def test_every_data_set_has_one_for_all_and_where_published_one_each() -> None:
    data = ("mvtec", "visa", "real-iad")
    expected = {f"{name}-{one}" for name in ("simplenet", "destseg", "uniad") for one in data}
    assert set(NAMES) == expected | {f"simplenet-{one}-per-category" for one in data}


@pytest.mark.parametrize("name", NAMES)
def test_a_header_says_what_the_recipe_is(name: str) -> None:
    config, text = load_config(name), recipe_text(name)
    comment = " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    stated = dict(re.findall(r"(\w+) (\d+\.\d+)", comment.partition("Expected, in %:")[2].partition("Source:")[0]))
    given = {metric: value for metric, value in dataclasses.asdict(config.published).items() if type(value) is float}
    assert {metric: round(100 * value, 6) for metric, value in given.items()} == {
        metric: float(value) for metric, value in stated.items()
    }
    per_category = name.endswith("-per-category")
    assert len(stated) == 7 or per_category
    assert config.training.mode == ("per_category" if per_category else "multi_class")
    assert config.detector.name == name.partition("-")[0]
    assert f"{config.schedule.total_steps:,} steps of {config.training.batch_size} images" in comment
    assert f"{config.published.source}." in comment
    assert f"# Data: {config.published.data}, " in text
    assert f"--recipe {name}" in comment


def test_main_numbers_are_the_tables() -> None:
    assert load_config("uniad-mvtec").published.image_auroc == 0.965
    assert load_config("destseg-visa").published.pixel_aupro == 0.674
    assert load_config("simplenet-real-iad").published.pixel_f1_max == 0.065
    assert load_config("simplenet-visa-per-category").published.image_auroc == 0.971
