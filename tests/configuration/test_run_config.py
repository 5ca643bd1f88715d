"""Recipes and settings: every published one loads and means what its name says, every mistake gets one line."""

import dataclasses
import re
from pathlib import Path

import pytest

from muad.configuration.recipe_files import recipe_names, recipe_text
from muad.configuration.run_config import (
    OptimConfig,
    RunConfig,
    ScheduleConfig,
    TrainingConfig,
    config_to_dict,
    config_to_toml,
    load_config,
    override,
    parse_config,
    settings_tree,
)
from muad.detectors import DiffusionAdConfig, DinomalyConfig, detector_names
from muad.encoders.encoder import EncoderConfig
from muad.errors import ConfigError
from muad.metrics.published import Published
from muad.runs.faults import key_paths

PUBLISHED = [name for name in recipe_names() if name.startswith("dinomaly-")]
METRICS = [entry.name for entry in dataclasses.fields(Published) if entry.name not in ("source", "data")]


def header(name: str) -> str:
    """The comment at the top of a recipe, as one line."""
    lines = recipe_text(name).splitlines()
    comment = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    return " ".join(line.removeprefix("#").strip() for line in comment)


def published(config: RunConfig) -> dict[str, float]:
    return {name: getattr(config.published, name) for name in METRICS if getattr(config.published, name) is not None}


# ------------------------------------------------------------------------------------------------------ recipes


def test_there_is_a_recipe_for_every_published_result() -> None:
    expected = {
        f"dinomaly-{data}{kind}" for data in ("mvtec", "visa", "real-iad") for kind in ("", "-per-category", "-large")
    }
    expected |= {"dinomaly-mvtec-small", "dinomaly-mvtec-20k", "dinomaly-visa-20k", "dinomaly-real-iad-100k"}
    sizes = ("r512-c448", "r448", "r392", "r384-c336", "r336", "r320-c280", "r280")
    assert set(PUBLISHED) == expected | {f"dinomaly-mvtec-{size}" for size in sizes}


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_survives_being_written_and_read(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    (tmp_path / "again.toml").write_text(config_to_toml(config), encoding="utf-8")
    assert load_config(tmp_path / "again.toml") == config
    assert f"--recipe {name}" in header(name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_header_has_the_numbers_the_command_and_the_source(name: str) -> None:
    config, text = load_config(name), header(name)
    expected = text.partition("Expected, in %:")[2].partition("Source:")[0]
    in_percent = {metric: float(value) for metric, value in re.findall(r"(\w+) (\d+\.\d+)", expected)}
    assert {metric: round(100 * value, 6) for metric, value in published(config).items()} == in_percent
    assert in_percent["image_auroc"] > 80
    assert config.published.source in text
    assert re.search(rf"muad train \w+ --out RUN --recipe {name} ", text)
    assert re.search(r"muad evaluate RUN \w+ --protocol dinomaly ", text)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_are_what_their_names_say(name: str) -> None:
    config = load_config(name)
    parts = name.removeprefix("dinomaly-")
    size = next((size for size in ("small", "large") if size in parts), "base")
    per_category, real_iad = "per-category" in parts, "real-iad" in parts
    assert config.detector.encoder == EncoderConfig(name=f"dinov2-reg-{size}")
    assert config.training.mode == ("per_category" if per_category else "multi_class")
    assert config.detector.dropout_rate == (0.4 if real_iad and not per_category else 0.2)
    assert config.optim.eps == (1e-8 if per_category and not real_iad else 1e-10)
    steps = 5_000 if per_category else 50_000 if real_iad else 10_000
    assert config.schedule.total_steps == (2 * steps if parts.endswith("k") else steps)
    sizes = re.search(r"r(\d+)(?:-c(\d+))?$", parts)
    resize, crop = (448, 392) if sizes is None else (int(sizes[1]), int(sizes[2] or sizes[1]))
    assert config.detector.resize_px == (resize, resize)
    assert config.detector.crop_px == (crop, crop)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_compute_as_the_authors(name: str) -> None:
    """Apart from what names say, a published recipe differs from the authors' main one in nothing."""
    config = load_config(name)
    detector = dataclasses.replace(
        config.detector, encoder=EncoderConfig(), dropout_rate=0.2, resize_px=(448, 448), crop_px=(392, 392)
    )
    assert detector == DinomalyConfig(
        attention="linear",
        attention_eps=0.0,
        align_corners=True,
        map_px=256,
        blur_sigma_px=4.0,
        top_fraction=0.01,
        easy_fraction=0.9,
        easy_weight=0.1,
        easy_ramp_steps=1000,
    )
    optim = OptimConfig(lr=2e-3, betas=(0.9, 0.999), weight_decay=1e-4, amsgrad=True, clip_threshold=1.0, clip_norm=0.1)
    assert dataclasses.replace(config.optim, eps=1e-10) == optim
    assert (config.schedule.warmup_steps, config.schedule.final_lr) == (100, 2e-4)
    assert (config.training.batch_size, config.training.precision, config.training.seed) == (16, "32-true", 1)


def test_main_numbers_are_the_papers() -> None:
    printed = {
        "dinomaly-mvtec": [99.6, 99.8, 99.0, 98.4, 69.3, 69.2, 94.8],
        "dinomaly-visa": [98.7, 98.9, 96.2, 98.7, 53.2, 55.7, 94.5],
        "dinomaly-real-iad": [89.3, 86.8, 80.2, 98.8, 42.8, 47.1, 93.9],
    }
    for name, numbers in printed.items():
        assert [100 * value for value in published(load_config(name)).values()] == pytest.approx(numbers)


def test_unknown_recipe_gets_the_list_and_the_closest() -> None:
    with pytest.raises(
        ConfigError, match=r"one of .*dinomaly-mvtec.*got 'dinomaly-mvtek'\. Did you mean 'dinomaly-mvtec'"
    ):
        load_config("dinomaly-mvtek")


def test_unreadable_recipes_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe must be a readable TOML file, got .*none\.toml"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("[optim\nlr = 1", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"recipe must be valid TOML, got .*broken\.toml") as error:
        load_config(tmp_path / "broken.toml")
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------------------------------- faults

FAULTS = {
    "optim.leraning_rate=1": "recipe key must be a known one, got 'optim.leraning_rate'. Known there: kind, lr, betas",
    "optim.weight-decay=1": "got 'optim.weight-decay'. Did you mean 'optim.weight_decay'?",
    "optimizer.lr=1": "recipe key must be a known one, got 'optimizer'. Did you mean 'optim'?",
    "training.total_steps=5": "got 'training.total_steps'. Did you mean 'schedule.total_steps'?",
    "seed=3": "got 'seed'. Did you mean 'training.seed'?",
    "detector.dropout=0.1": "got 'detector.dropout'. Did you mean 'detector.dropout_rate'?",
    "detector.encoder.tap_layer=[1]": "got 'detector.encoder.tap_layer'. Did you mean 'detector.encoder.tap_layers'?",
    "detector.encoder.layout.widht=3": "'detector.encoder.layout.widht'. Did you mean 'detector.encoder.layout.width'?",
    "detector.encoder=dinov2-reg-base": 'detector.encoder must be a table of keys, got "dinov2-reg-base". '
    "Set a key of it, such as detector.encoder.name.",
    "detector.encoder.name=dinov2-reg-bass": "detector.encoder.name must be a known encoder or timm:<timm name>, "
    "got dinov2-reg-bass. Closest: dinov2-reg-base",
    "detector.encoder.layout={width=6,depth=2,heads=4}": "detector.encoder.layout.width must be a multiple of",
    "detector.attention=linaer": "detector.attention must be one of linear, softmax, conv3, conv5, conv7, "
    "got \"linaer\". Did you mean 'linear'?",
    "training.mode=multi": 'training.mode must be one of multi_class, per_category, got "multi".',
    "detector.name=dinomaly2": f'detector.name must be one of {", ".join(detector_names())}, got "dinomaly2". '
    "Did you mean 'dinomaly'?",
    "detector.name=5": f"detector.name must be one of {', '.join(detector_names())}, got 5.",
    "detector=dinomaly": 'detector must be a table of keys, got "dinomaly". Set a key of it, such as detector.name.',
    "detector={name='diffusion_ad', encoder={name='muad-tiny'}}": "got 'detector.encoder', which detector.name = "
    "'diffusion_ad' does not have. Leave it out, or name another detector.",
    "detector.guidance_weight=0.5": "got 'detector.guidance_weight', which detector.name = 'dinomaly' does not have.",
    "detector={name='diffusion_ad', mode='clear'}": 'detector.mode must be one of parity, clean, got "clear". '
    "Did you mean 'clean'?",
    "detector={name='diffusion_ad', guidanceweight=1}": "got 'detector.guidanceweight'. "
    "Did you mean 'detector.guidance_weight'?",
    "detector={name='diffusion_ad', denoiser={width=4}}": "detector.denoiser.width must be from 8 to 8192, got 4.",
    "detector={name='diffusion_ad', denoiser={heads='4'}}": 'detector.denoiser.heads must be a whole number, got "4".',
    "detector={name='diffusion_ad', resize_px=[100, 100]}": "detector.resize_px must be multiples of 32, "
    "got [100, 100].",
    "optim.lr='1e-3'": 'optim.lr must be a number, got "1e-3". Write it as 0.001 or 1e-3, without quotes.',
    "optim.lr=true": "optim.lr must be a number, got true.",
    "optim.lr=nan": "optim.lr must be a finite number, got NaN.",
    "detector.dropout_rate=nan": "detector.dropout_rate must be a finite number, got NaN.",
    "optim.lr=0": "optim.lr must be above 0 and at most 100, got 0.0.",
    "optim.eps=0": "optim.eps must be above 0 and at most 1, got 0.0.",
    "optim.weight_decay=-0.1": "optim.weight_decay must be from 0 to 100, got -0.1.",
    "optim.betas=[0.9, 1.0]": "optim.betas must be from 0 to below 1, got [0.9, 1.0].",
    "optim.betas=[0.9]": "optim.betas must be 2 values, got [0.9].",
    "optim.clip_norm=-1": "optim.clip_norm must be from 0 to 1e+06, got -1.0.",
    "training.accumulate=0": "training.accumulate must be from 1 to 1048576, got 0.",
    "training.ema_decay=1": "training.ema_decay must be from 0 to below 1, got 1.0.",
    "schedule.total_steps=0": "schedule.total_steps must be from 1 to 1000000000, got 0.",
    "schedule.total_steps=1e4": "schedule.total_steps must be a whole number, got 10000.0.",
    "schedule.warmup_steps=20000": "schedule.warmup_steps must be from 0 to schedule.total_steps 10000, got 20000.",
    "schedule.final_lr=-1.0": "schedule.final_lr must be from 0 to 100",
    "training.batch_size=0": "training.batch_size must be from 1 to 1048576, got 0.",
    "training.batch_size=true": "training.batch_size must be a whole number, got true.",
    "training.seed=-1": "training.seed must be from 0 to below 2^63, got -1.",
    "training.skip_bad=yes": 'training.skip_bad must be true or false, got "yes".',
    "detector.resize_px=448": "detector.resize_px must be a list, got 448.",
    "detector.resize_px=[]": "detector.resize_px must be 2 values, got [].",
    "detector.resize_px=[448, 448, 3]": "detector.resize_px must be 2 values, got [448, 448, 3].",
    "detector.crop_px=[500, 392]": "detector.crop_px must be from 1 to detector.resize_px (448, 448), got (500, 392).",
    "detector.encoder.name=5": "detector.encoder.name must be text, got 5. Put it in quotes.",
    "images.fit=crop": 'images.fit must be one of stretch, letterbox, got "crop".',
    "images.tiles=[0, 2]": "images.tiles must be rows and columns of at least 1 and at most 64 tiles, got [0, 2].",
    "images.tiles=[9, 9]": "images.tiles must be rows and columns of at least 1 and at most 64 tiles, got [9, 9].",
    "images.tile_overlap=0.6": "images.tile_overlap must be from 0 to 0.5, got 0.6.",
    "published.image_auroc=99.6": "published.image_auroc must be from 0 to 1, got 99.6. Divide percent by 100.",
}


@pytest.mark.parametrize(("setting", "message"), FAULTS.items())
def test_a_mistake_gets_one_line_with_path_value_and_remedy(setting: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(overrides=[setting])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_key_is_named_before_what_it_left_missing() -> None:
    with pytest.raises(ConfigError, match=r"got 'detector.encoder.layout.head'\. Did you mean '.*heads'"):
        parse_config(
            {"detector": {"encoder": {"name": "random-custom", "layout": {"width": 8, "depth": 2, "head": 2}}}}
        )
    with pytest.raises(
        ConfigError, match=r"detector\.encoder\.layout\.heads must be given, got none\. .* --set detector"
    ):
        parse_config({"detector": {"encoder": {"name": "random-custom", "layout": {"width": 8, "depth": 2}}}})


@pytest.mark.parametrize("cls", [OptimConfig, ScheduleConfig, TrainingConfig, EncoderConfig, DinomalyConfig, RunConfig])
def test_configurations_are_frozen_and_take_only_keywords(cls: type) -> None:
    with pytest.raises(TypeError):
        cls(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(cls(), dataclasses.fields(cls)[0].name, None)


# ---------------------------------------------------------------------------------------------------- overrides


def test_overrides_are_read_as_toml_and_bare_words_as_text() -> None:
    settings = ["optim.lr=1e-3", "detector.resize_px=[280, 280]", "detector.crop_px=[252,252]"]
    settings += ["detector.encoder.name=dinov2-reg-small", 'detector.attention="softmax"', "training.skip_bad=true"]
    settings += [
        "detector.encoder.weights=weights/vits14=reg.pth",
        " schedule.total_steps = 7 ",
        "schedule.warmup_steps=2",
    ]
    config = load_config(overrides=settings)
    assert config.optim.lr == 1e-3
    assert (config.detector.resize_px, config.detector.crop_px) == ((280, 280), (252, 252))
    assert config.detector.encoder.name == "dinov2-reg-small"
    assert config.detector.attention == "softmax"
    assert config.training.skip_bad is True
    assert config.detector.encoder.weights == Path("weights/vits14=reg.pth")
    assert config.schedule.total_steps == 7


def test_overrides_win_over_the_recipe_and_the_last_over_the_first() -> None:
    config = load_config("dinomaly-mvtec", ["schedule.total_steps=300", "schedule.total_steps=200"])
    assert config.schedule.total_steps == 200
    assert config.detector.encoder.name == "dinov2-reg-base"


def test_override_leaves_its_input_alone() -> None:
    values = {"optim": {"lr": 1.0}}
    assert override(values, ["optim.lr=2.0", "training.seed=3"]) == {"optim": {"lr": 2.0}, "training": {"seed": 3}}
    assert values == {"optim": {"lr": 1.0}}


@pytest.mark.parametrize("setting", ["optim.lr", "=3", "optim..lr=1", "optim.lr.x=1"])
def test_malformed_overrides_are_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"override must|recipe key must"):
        load_config(overrides=["optim.lr=0.1", setting])


# --------------------------------------------------------------------------------------------------- round trip


def test_every_setting_survives_being_written_and_read(tmp_path: Path) -> None:
    settings = [
        "detector.encoder={name='random-custom', seed=4, tap_layers=[0, 1], layout={width=8, depth=2, heads=2}}",
        "detector.map_px=0",
        "detector.decoder_depth=3",
        "detector.grouping=concatenation",
        "training.mode=per_category",
        "published.pixel_ap=0.0",
    ]
    config = load_config(overrides=settings)
    assert config != RunConfig()
    assert parse_config(config_to_dict(config)) == config
    (tmp_path / "run.toml").write_text(config_to_toml(config), encoding="utf-8")
    assert load_config(tmp_path / "run.toml") == config


def test_key_paths_are_the_leaves_of_the_tree() -> None:
    paths = list(key_paths(settings_tree()))
    assert len(paths) == len(set(paths))
    assert {"optim.lr", "detector.encoder.name", "detector.encoder.layout.width", "published.source"} <= set(paths)
    assert "detector.encoder" not in paths
    assert {"detector.denoiser.width", "detector.synthesis.texture_dir"} <= set(paths)
    assert "detector.encoder.name" not in set(key_paths(settings_tree(), name="diffusion_ad"))


def test_the_detectors_name_decides_what_its_table_is() -> None:
    assert parse_config({"detector": {"map_px": 128}}).detector == DinomalyConfig(map_px=128)
    config = load_config(overrides=["detector.name=diffusion_ad", "detector.denoiser.width=32"])
    assert isinstance(config.detector, DiffusionAdConfig)
    assert config.detector.denoiser.width == 32
    assert config.encoders == ()
    assert parse_config(config_to_dict(config)) == config


# -------------------------------------------------------------------------------------------------- DiffusionAD

DIFFUSION = [name for name in recipe_names() if name.startswith("diffusionad-")]


def test_diffusionad_has_a_recipe_for_every_data_set_of_the_paper() -> None:
    assert set(DIFFUSION) == {f"diffusionad-{data}" for data in ("mvtec", "visa", "dagm", "mpdd")}


@pytest.mark.parametrize("name", DIFFUSION)
def test_recipes_of_diffusionad_are_the_authors_settings(name: str) -> None:
    config = load_config(name)
    textures = config.detector.synthesis.texture_categories
    synthesis = dataclasses.replace(config.detector.synthesis, texture_categories=None)
    assert dataclasses.replace(config.detector, synthesis=synthesis) == DiffusionAdConfig()
    assert textures is not None
    assert ("zipper" in textures) == (name == "diffusionad-mvtec")
    assert (config.optim.kind, config.optim.lr, config.optim.weight_decay) == ("adamw", 1e-4, 0.0)
    assert (config.optim.clip_norm, config.optim.amsgrad, config.optim.eps) == (0.0, False, 1e-8)
    assert (config.schedule.kind, config.schedule.warmup_steps) == ("constant", 0)
    assert (config.training.mode, config.training.batch_size) == ("per_category", 16)
    assert (config.training.accumulate, config.training.ema_decay) == (1, 0.0)


@pytest.mark.parametrize("name", DIFFUSION)
def test_headers_of_diffusionad_say_what_is_expected_and_how_sure_that_is(name: str) -> None:
    config, text = load_config(name), header(name)
    expected = text.partition("Expected, in %:")[2].partition("Source:")[0]
    in_percent = {metric: float(value) for metric, value in re.findall(r"(\w+_\w+) (\d+\.\d+)", expected)}
    assert {metric: round(100 * value, 6) for metric, value in published(config).items()} == in_percent
    assert "by others" in text
    assert "arXiv:2303.08730" in config.published.source
    assert re.search(rf"muad train \w+ --out RUN --recipe {name} ", text)
