"""Recipes of reverse distillation and its descendants: the authors' settings, the printed figures."""

import dataclasses
import re

import pytest

from muad.configuration.recipe_files import recipe_names, recipe_text
from muad.configuration.run_config import load_config
from muad.detectors import DiadConfig, MambaAdConfig, Rd4adConfig, ReContrastConfig, ViTadConfig
from muad.metrics.published import Published

SYSTEMS = {"rd4ad": Rd4adConfig(), "recontrast": ReContrastConfig(), "vitad": ViTadConfig(), "mambaad": MambaAdConfig()}
SYSTEMS["diad"] = DiadConfig()
NAMES = [name for name in recipe_names() if name.partition("-")[0] in SYSTEMS]
METRICS = [entry.name for entry in dataclasses.fields(Published) if entry.name not in ("source", "data")]


def test_there_is_a_recipe_for_every_published_result() -> None:
    expected = {f"{system}-{data}" for system in SYSTEMS for data in ("mvtec", "visa", "real-iad")}
    expected |= {f"{system}-mvtec-r{side}" for system in ("rd4ad", "recontrast") for side in (320, 384)}
    expected |= {f"rd4ad-{data}-per-category" for data in ("mvtec", "visa", "real-iad")}
    expected |= {f"recontrast-{data}-per-category" for data in ("mvtec", "visa")}
    assert set(NAMES) == expected


@pytest.mark.parametrize("name", NAMES)
def test_recipes_are_the_authors_settings_and_their_headers_what_is_printed(name: str) -> None:
    config, text = load_config(name), " ".join(recipe_text(name).replace("\n#", " ").split())
    system, per_category = name.partition("-")[0], "per-category" in name
    side = int(match[1]) if (match := re.search(r"-r(\d+)$", name)) else 256
    varied: dict[str, object] = {"resize_px": (256, 256)}
    if system == "diad":
        varied["autoencoder_steps"] = DiadConfig().autoencoder_steps
    if system == "recontrast" and per_category:
        varied |= {"activation": "gelu", "encoder_norm": "pretrained", "pretrained_norm_categories": (),
                   "blur": "five_px", "top_fraction": 0.01}  # fmt: skip
    assert dataclasses.replace(config.detector, **varied) == SYSTEMS[system]
    assert config.detector.resize_px == (side, side)
    assert config.training.mode == ("per_category" if per_category else "multi_class")
    assert config.training.batch_size == {"vitad": 8, "diad": 48}.get(system, 16)
    optim = {"rd4ad": ("adam", 0.005, 0.0), "recontrast": ("adamw", 2e-3, 1e-5), "vitad": ("adamw", 1e-4, 1e-4)}
    optim |= {"mambaad": ("adamw", 5e-3, 1e-4), "diad": ("adamw", 1e-5, 0.01)}
    assert (config.optim.kind, config.optim.lr, config.optim.weight_decay) == optim[system]
    expected = text.partition("Expected, in %:")[2].partition("Source:")[0]
    printed = {metric: float(value) for metric, value in re.findall(r"(\w+_\w+) (\d+\.\d+)", expected)}
    stated = {metric: getattr(config.published, metric) for metric in METRICS}
    assert {metric: round(100 * value, 6) for metric, value in stated.items() if value is not None} == printed
    assert bool(printed) == (side == 256)
