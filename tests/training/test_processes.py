"""Two processes train what one does. Starting them costs more than training: one pair trains all runs, in turn."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from muad import api
from muad.checkpoints.checkpoint import build_detector
from muad.configuration.run_config import load_config
from muad.datasets.index import open_catalog
from muad.detectors.types import Batch
from muad.images.reading import read_image

SETTINGS = ("schedule.total_steps=6", "training.save_every_steps=100")
PHASES = ("detector.name=in_turns", "detector.first_steps=3", "optim.kind=adamw", "training.batch_size=4",
          "training.precision=32-true", *SETTINGS)  # fmt: skip
DIFFUSION = """
[detector]
name = "diffusion_ad"
resize_px = [32, 32]
segmenter_width = 4
synthesis = { max_cells_exponent = 2, foreground = "whole_image" }
denoiser = { width = 8, multipliers = [1, 2], blocks_per_level = 1, attention_levels = 1, heads = 2 }

[optim]
lr = 1e-3

[schedule]
total_steps = 12
warmup_steps = 0

[training]
batch_size = 4
precision = "32-true"
log_every_steps = 1
save_every_steps = 5
"""
# The noise loss alone moves the denoiser here; its mean is over the normal images of both processes.
NOISE = ("detector.focal_weight=0.0", "detector.smooth_l1_weight=0.0", "schedule.total_steps=4")
EACH = """
import json, sys
from muad.cli.main import run
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    try:
        run()
    except SystemExit as ended:
        if ended.code:
            raise
"""


@pytest.fixture(scope="module")
def diffusion_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "diffusion.toml"
    file.write_text(DIFFUSION, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def own_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that brings the detector of two phases."""
    folder = tmp_path_factory.mktemp("package")
    info = folder / "in_turns-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: in_turns\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[muad.detectors]\nin_turns = in_turns:InTurns\n", encoding="utf-8")
    shutil.copy(Path(__file__).with_name("test_phases.py"), folder / "in_turns.py")
    return folder


@pytest.fixture(scope="module")
def together(
    photos: Path,
    tiny_recipe: Path,
    diffusion_recipe: Path,
    own_detector: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Path, str]]:
    """Folder of the runs that two processes trained, and what they said."""
    folder = tmp_path_factory.mktemp("two")
    runs: dict[str, tuple[Path | None, tuple[str, ...]]] = {
        "off": (tiny_recipe, (*SETTINGS, "training.cache=off")),
        "disk": (tiny_recipe, (*SETTINGS, "training.cache=disk")),
        "diffusion": (diffusion_recipe, NOISE),
        "phases": (None, PHASES),
    }
    asked = [
        ["train", str(photos), "--out", str(folder / name), "--device", "cpu"]
        + (["--recipe", str(recipe)] if recipe else [])
        + [part for setting in settings for part in ("--set", setting)]
        for name, (recipe, settings) in runs.items()
    ]
    script = folder / "each.py"
    script.write_text(EACH, encoding="utf-8")
    paths = os.pathsep.join(filter(None, [str(own_detector), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script,
         json.dumps(asked)],
        capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "MUAD_CACHE": str(folder / "kept")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    yield folder, done.stderr
    shutil.rmtree(folder)


def columns(run: Path) -> dict[str, list[float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {key: [line[key] for line in lines] for key in lines[0] if key != "seconds_per_step"}


def files(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


def weights(run: Path) -> dict[str, torch.Tensor]:
    """After the last step."""
    (file,) = run.glob("checkpoints/*/weights.safetensors")
    return load_file(file)


def difference(one: Path, other: Path, part: str = "") -> float:
    """Of the weights after the last step, or of a part of them, relative to their size."""
    ours, expected = weights(one), {name: of for name, of in weights(other).items() if name.startswith(part)}
    apart = sum(float((ours[name] - tensor).square().sum()) for name, tensor in expected.items())
    return (apart / sum(float(tensor.square().sum()) for tensor in expected.values())) ** 0.5


@pytest.mark.parametrize("cache", ["off", "disk"])
def test_two_processes_train_what_one_does(
    together: tuple[Path, str], train_tiny: Callable[..., object], tmp_path: Path, cache: str
) -> None:
    two, one = together[0] / cache, tmp_path / "one"
    train_tiny(one, *SETTINGS)

    # Sums over the batch are made in another order, so the last bits differ (1e-7), and the optimizer's normalised
    # steps carry that on; a threshold taken per process would be off by a thousand times as much, see below.
    ours, expected = columns(two), columns(one)
    assert ours.keys() == expected.keys()
    assert ours["step"] == expected["step"] == list(range(6))
    assert ours["learning_rate"] == expected["learning_rate"]
    for term in ours:
        assert ours[term] == pytest.approx(expected[term], rel=1e-5), term
    assert difference(two, one) < 1e-5
    assert files(two) == sorted([*files(one), "log.txt"])  # the command's; the second process wrote nothing
    log = (two / "log.txt").read_text(encoding="utf-8")
    assert (log.count("$ muad train"), log.count("Recognised")) == (1, 1)


def test_every_sentence_is_said_once(together: tuple[Path, str]) -> None:
    folder, said = together
    assert said.count("Recognised") == len(list(folder.glob("*/run.json"))) == 4


def test_the_threshold_of_half_a_batch_is_another(tiny_recipe: Path, photos: Path, tmp_path: Path) -> None:
    """The case above can tell: with the easy share at 90 % the halves alone have other gradients than the whole."""
    config = load_config(tiny_recipe, SETTINGS)
    torch.manual_seed(1)
    detector = build_detector(config)
    records = open_catalog(photos).select(split="train")
    views = [detector.preprocessing.view(read_image(record.path)) for record in records[:4]]
    batch = Batch(
        images=torch.from_numpy(detector.preprocessing.normalise(np.stack(views))),
        seeds=(1, 2, 3, 4),
        categories=("bolt",) * 4,
    )

    def gradient(part: slice) -> torch.Tensor:
        detector.zero_grad()
        half = Batch(images=batch.images[part], seeds=batch.seeds[part], categories=batch.categories[part])
        detector(half, 3).total.backward()
        return torch.cat([p.grad.flatten().clone() for p in detector.parameters() if p.grad is not None])

    whole, halves = gradient(slice(4)), (gradient(slice(2)) + gradient(slice(2, 4))) / 2
    assert float((whole - halves).norm() / whole.norm()) > 1e-2


def test_phases_are_the_same_in_two_processes(
    together: tuple[Path, str],
    own_detector: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What rests in a step has no gradient, for which other processes would wait for ever."""
    monkeypatch.syspath_prepend(own_detector)
    api.train(photos, tmp_path / "one", overrides=PHASES, device="cpu")
    ours = weights(together[0] / "phases")
    for name, tensor in weights(tmp_path / "one").items():
        if "running" not in name:  # each process has the statistics of its own images
            assert torch.allclose(ours[name].float(), tensor.float(), rtol=1e-3, atol=1e-4), name


def test_two_processes_train_what_one_does_but_for_batch_norm(
    together: tuple[Path, str], diffusion_recipe: Path, photos: Path, tmp_path: Path
) -> None:
    api.train(photos, tmp_path / "one", recipe=diffusion_recipe, overrides=NOISE, device="cpu")
    ours, expected = columns(together[0] / "diffusion"), columns(tmp_path / "one")
    for key in ("noise", "anomalous_fraction", "learning_rate"):
        assert ours[key] == pytest.approx(expected[key], rel=1e-4), key
    # Normalised steps carry the last bits of sums on; a mean over each process's normal images is 3e-2 off.
    assert difference(together[0] / "diffusion", tmp_path / "one", "denoiser") < 1e-3
