"""The table of settings that ships, and the page of it: what the configuration says, without torch."""

from pathlib import Path

import pytest

from muad.configuration.listing import own_settings, write_tables
from muad.configuration.recipe_files import recipe_names, recipe_summary
from muad.configuration.run_config import load_config
from muad.configuration.settings_table import TABLE_FILE, as_markdown, shipped_settings

ROOT = Path(__file__).resolve().parents[2]


def test_table_and_page_are_what_the_configuration_says(tmp_path: Path) -> None:
    write_tables(tmp_path / TABLE_FILE, tmp_path / "settings.md")
    for made, kept in ((TABLE_FILE, f"src/muad/configuration/{TABLE_FILE}"), ("settings.md", "docs/settings.md")):
        same = (tmp_path / made).read_text(encoding="utf-8") == (ROOT / kept).read_text(encoding="utf-8")
        assert same, f"{kept} must be what the configuration says, got another text. Run: make settings"
    assert shipped_settings() == own_settings()


def test_every_setting_has_one_row_of_the_page() -> None:
    page = as_markdown(shipped_settings())
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == len(shipped_settings())
    assert all(line.replace("\\|", "").count("|") == 5 for line in rows)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_summed_up_as_its_configuration_says(name: str) -> None:
    found, config = recipe_summary(name), load_config(name)
    assert found.encoder == config.encoder_name
    assert (found.resize_px, found.crop_px) == (config.detector.resize_px[0], config.detector.crop_px[0])
    assert (found.steps, found.image_auroc) == (config.schedule.total_steps, config.published.image_auroc)
