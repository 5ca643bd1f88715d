"""What a run set otherwise than its recipe: what could move a figure, by its path, and nothing else."""

from pathlib import Path

import pytest

from muad.configuration.recipe_changes import changed_settings
from muad.configuration.run_config import config_to_toml, load_config
from muad.errors import ConfigError


def test_settings_that_are_not_the_recipes_are_found_defaults_included() -> None:
    config = load_config("dinomaly-mvtec", ["schedule.total_steps=300", "optim.lr=1e-3", "training.seed=4"])
    assert changed_settings(config, "dinomaly-mvtec") == ("optim.lr", "schedule.total_steps")
    assert changed_settings(load_config("dinomaly-mvtec"), "dinomaly-mvtec") == ()


def test_a_recipe_of_ones_own_counts_like_one_of_the_package(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(config_to_toml(load_config("dinomaly-mvtec")), encoding="utf-8")
    assert changed_settings(load_config(file), file) == ()
    assert changed_settings(load_config(file, ["images.tiles=[2,2]"]), str(file)) == ("images.tiles",)


def test_without_a_recipe_nothing_is_known() -> None:
    assert changed_settings(load_config(), None) is None
    with pytest.raises(ConfigError, match="recipe must be"):
        changed_settings(load_config(), "dinomaly-mvtek")
