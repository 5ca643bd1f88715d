"""An encoder is judged the same way whatever it is."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from muad.cli.main import app
from muad.encoders.encoder import build_encoder
from muad.errors import CheckpointError, ConfigError
from muad.experiments.probe import Probe, encoder_named, probe_encoder


@pytest.mark.timeout(120)
def test_both_detectors_are_measured_and_reported(tiny_data: Path) -> None:
    options = ["--steps", "10", "--image-px", "56", "--seeds", "2", "--device", "cpu", "--json"]
    result = CliRunner().invoke(app, ["probe-encoder", "random-vit-tiny", str(tiny_data), *options])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert len(report["dinomaly"]) == 2
    first, second = (entry["mean"]["image_auroc"] for entry in report["dinomaly"])
    mean, deviation = report["dinomaly_mean"]["image_auroc"]
    assert mean == pytest.approx((first + second) / 2)
    assert deviation == pytest.approx(abs(first - second) / 2**0.5)
    assert set(report["nearest_neighbour"]["categories"]) == {"pill_blister", "printed_board"}


@pytest.mark.timeout(120)
def test_runs_that_were_kept_are_not_trained_again(tiny_data: Path, tmp_path: Path) -> None:
    def probe(**settings: Any) -> tuple[Probe, set[str]]:
        seen = set()
        made = probe_encoder(
            encoder_named("random-vit-tiny"), tiny_data, name="random", image_px=56, device="cpu", note=lambda _: None,
            progress=lambda what, *_: seen.add(what), **{"steps": 2, "out": tmp_path / "kept", **settings},
        )  # fmt: skip
        return made, seen

    both, seen = probe(seeds=2)
    assert "train" in seen
    again, seen = probe(first_seed=2)
    assert "train" not in seen
    assert again.dinomaly[0].to_json() == both.dinomaly[1].to_json()
    with pytest.raises(ConfigError, match=r"out must be new or hold the same probe, got .*steps is 2, not 3"):
        probe(steps=3)
    (tmp_path / "kept" / "probe.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"probe\.json must be readable, got .*Name another folder"):
        probe()


def test_a_file_in_metas_naming_tells_its_own_shape(golden: dict, tmp_path: Path) -> None:
    file = tmp_path / "encoder.safetensors"
    save_file(
        {k.removeprefix("weights.encoder."): t for k, t in golden.items() if k.startswith("weights.encoder.")}, file
    )
    config = encoder_named(str(file))
    assert (config.layout.width, config.layout.depth, config.layout.registers) == (64, 12, 4)
    assert build_encoder(config, (56, 56)).grid == (4, 4)


def test_what_is_neither_name_nor_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"encoder must be a weights file or one of .*dinov2-reg-base"):
        encoder_named("dinov2-reg-bas")
    file = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, file)
    with pytest.raises(CheckpointError, match=r"plain vision transformer"):
        encoder_named(str(file))
