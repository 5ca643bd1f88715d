"""Every number of a configuration has a range: what nobody can mean is refused before anything is computed."""

import dataclasses
import math
import typing
from collections.abc import Iterator
from typing import Any

import pytest
import tomli_w

from muad.configuration.run_config import RunConfig, config_to_dict, override, parse_config
from muad.errors import ConfigError

# What `custom` and other switches need to be set for a field to be there at all.
BASES: dict[str, list[str]] = {
    "dinomaly": [
        'detector.encoder.name="random-custom"',
        "detector.encoder.layout={width=32, depth=4, heads=2}",
        "detector.encoder.tap_layers=[0, 1, 2, 3]",
    ],
    "diffusion_ad": ['detector.name="diffusion_ad"'],
    "patchcore": [
        'detector.name="patchcore"',
        'detector.encoder.name="random-custom"',
        "detector.encoder.layout={width=32, depth=4, heads=2}",
        "detector.encoder.tap_layers=[0, 1, 2, 3]",
    ],
}
# Where 0 says something: none, off, the first, from the start.
ZERO_MEANS = {
    "optim.weight_decay", "optim.clip_norm", "schedule.warmup_steps", "schedule.final_lr", "training.ema_decay",
    "training.calibration_share", "training.seed", "training.shots", "training.shots_seed",
    "training.image_cache_mib", "images.tile_overlap",
    "detector.dropout_rate", "detector.attention_eps", "detector.neighbour_mask", "detector.easy_fraction",
    "detector.easy_weight", "detector.map_px", "detector.blur_sigma_px", "detector.encoder.seed",
    "detector.encoder.layout.registers", "detector.category_dropout", "detector.guidance_weight",
    "detector.noise_weight", "detector.focal_weight", "detector.smooth_l1_weight", "detector.segmenter_swing_steps",
    "detector.noise_seed", "detector.denoiser.attention_levels", "detector.synthesis.probability",
    "optim.momentum", "schedule.drop_at", "detector.pooled_width", "detector.coreset_projection",
    "detector.most_patches", "detector.reweight_neighbours", "detector.grid_px", "images.depth_gap_rounds",
    "detector.synthesis.self_probability", "detector.synthesis.max_cells_exponent", "detector.synthesis.threshold",
}  # fmt: skip


def _numbers(kind: type, prefix: str, name: str) -> Iterator[tuple[str, type]]:
    """Every field of one number, by its path."""
    hints = typing.get_type_hints(kind)
    for entry in dataclasses.fields(kind):
        hint = _detector_kind(name) if entry.name == "detector" else hints[entry.name]
        choices = (hint, *typing.get_args(hint))
        nested = [choice for choice in choices if dataclasses.is_dataclass(choice)]
        nested = [one for one in nested if len(nested) == 1 or one.name == name or _named(one) == name]  # type: ignore
        for inner in nested:
            yield from _numbers(inner, f"{prefix}{entry.name}.", name)  # type: ignore[arg-type]
        for number in (int, float):
            if not nested and number in choices:
                yield prefix + entry.name, number


def _detector_kind(name: str) -> type:
    return type(parse_config(override({}, BASES[name])).detector)


def _named(kind: Any) -> object:
    return next((entry.default for entry in dataclasses.fields(kind) if entry.name == "name"), None)


NUMBERS = [
    (detector, path, kind)
    for detector in BASES
    for path, kind in _numbers(RunConfig, "", detector)
    if not path.startswith("published.")
]


def test_the_list_of_numbers_is_whole() -> None:
    paths = {path for _, path, _ in NUMBERS}
    assert len(paths) > 50
    assert paths >= ZERO_MEANS
    assert {"detector.top_fraction", "detector.denoiser.width", "detector.encoder.layout.depth"} <= paths


@pytest.mark.parametrize(("detector", "path", "kind"), NUMBERS)
def test_a_number_nobody_can_mean_is_refused_by_its_name(detector: str, path: str, kind: type) -> None:
    base = override({}, BASES[detector])
    huge = 10**30 if kind is int else 1e300
    wrong: list[object] = [-1, huge, -huge, math.nan, math.inf, -math.inf, True, "1"]
    wrong += [] if path in ZERO_MEANS else [0]
    for value in wrong:
        table = _with(base, path, value)
        with pytest.raises(ConfigError) as caught:
            parse_config(table)
        said = str(caught.value)
        assert path.rpartition(".")[2] in said, (value, said)
        assert "must" in said
        assert "\n" not in said


@pytest.mark.parametrize(("detector", "path", "kind"), [each for each in NUMBERS if each[1] in ZERO_MEANS])
def test_a_zero_that_says_something_is_taken(detector: str, path: str, kind: type) -> None:
    base = override({}, BASES[detector])
    config = parse_config(_with(base, path, 0))
    assert parse_config(config_to_dict(config)) == config


@pytest.mark.parametrize(
    "setting",
    ["optim.betas=[0.9, 1]", "optim.betas=[-0.1, 0.9]", "optim.betas=[nan, 0.9]", "images.tiles=[0, 1]",
     "images.tiles=[9, 9]", "images.tiles=[1000000000000, 1]", "images.value_range=[5, 5]",
     "images.value_range=[-1e308, 1e308]", "images.value_range=[0, inf]", "detector.resize_px=[0, 0]",
     "detector.resize_px=[1000000, 1000000]", "detector.crop_px=[-1, 5]", "detector.crop_px=[0, 0]"],
)  # fmt: skip
def test_pairs_have_ranges_too(setting: str) -> None:
    with pytest.raises(ConfigError, match=setting.partition("=")[0].rpartition(".")[2]):
        parse_config(override({}, [setting]))


def _with(values: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    table = override(values, [f"{path}=0"])
    inner = table
    *sections, key = path.split(".")
    for section in sections:
        inner = inner[section]
    inner[key] = value
    assert tomli_w.dumps(table)
    return table
