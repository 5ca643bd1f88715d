"""Recipes of Dinomaly2: the preview code's settings, the printed figures, one detector file."""

import dataclasses
import re

import pytest

from muad.configuration.recipe_files import recipe_names, recipe_text
from muad.configuration.run_config import OptimConfig, ScheduleConfig, TrainingConfig, load_config
from muad.detectors import DinomalyConfig
from muad.encoders.encoder import EncoderConfig
from muad.metrics.published import Published
from muad.optim import warmup_constant_rate

NAMES = [name for name in recipe_names() if name.startswith("dinomaly2-")]
METRICS = [entry.name for entry in dataclasses.fields(Published) if entry.name not in ("source", "data")]


def test_there_is_a_recipe_for_every_script() -> None:
    two_d = {f"dinomaly2-{data}{size}" for data in ("mvtec", "visa") for size in ("", "-small", "-large")}
    few = {f"dinomaly2-{data}-{shots}-shot" for data in ("mvtec", "visa") for shots in (1, 2, 4, 8)}
    assert two_d | few | {"dinomaly2-real-iad", "dinomaly2-mvtec-3d", "dinomaly2-mulsen-ad"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_the_preview_codes(name: str) -> None:
    config = load_config(name)
    infrared, one_rate = "mulsen" in name, "real-iad" in name or "-3d" in name
    size = next((size for size in ("small", "large") if size in name), "large" if infrared else "base")
    assert config.detector == DinomalyConfig(
        encoder=EncoderConfig(name=f"dinov2-reg-{size}"),
        recentring=True,
        dropout_rate=0.2 if infrared else 0.4,
        bottleneck_width=256,
        bottleneck_lr_factor=1.0 if one_rate else 0.1,
        attention_eps=1e-8,
    )
    assert config.optim == OptimConfig(amsgrad=False, skip_nonfinite=True)
    # The preview code reaches the peak at step 100, the first Dinomaly's at step 99.
    steps = 100_000 if "real-iad" in name else 20_000 if infrared else 40_000
    assert config.schedule == ScheduleConfig(kind="constant", total_steps=steps, warmup_steps=101)
    rates = [warmup_constant_rate(step, warmup_steps=config.schedule.warmup_steps, peak=1.0) for step in range(200)]
    assert rates == [min(step / 100, 1.0) for step in range(200)]
    assert config.images.senses == (("colour", "depth") if "-3d" in name else ("colour",))
    few = {"shots": int(match[1]), "augmentation": "few_shot"} if (match := re.search(r"-(\d)-shot$", name)) else {}
    assert config.training == TrainingConfig(precision="32-true", **few)


@pytest.mark.parametrize("name", NAMES)
def test_headers_say_what_is_printed_and_how_to_repeat_it(name: str) -> None:
    config, text = load_config(name), " ".join(recipe_text(name).replace("\n#", " ").split())
    protocol = "mulsen_ad" if "mulsen" in name else "dinomaly"
    assert re.search(rf"muad train \w+ --out RUN --recipe {name} muad evaluate RUN \w+ --protocol {protocol} ", text)
    expected = text.partition("Expected, in %:")[2].partition("Source:")[0]
    printed = {metric: float(value) for metric, value in re.findall(r"(\w+_\w+) (\d+\.\d+)", expected)}
    stated = {metric: getattr(config.published, metric) for metric in METRICS}
    assert {metric: round(100 * value, 6) for metric, value in stated.items() if value is not None} == printed
    assert config.published.source in text
    assert bool(printed) != ("no figure" in text)
