"""Two processes train what one does."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from muad.checkpoints.checkpoint import build_detector
from muad.configuration.run_config import load_config
from muad.datasets.index import open_catalog
from muad.detectors.types import Batch
from muad.images.reading import read_image

SETTINGS = ("schedule.total_steps=6", "training.save_every_steps=100")


def columns(run: Path) -> dict[str, list[float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {key: [line[key] for line in lines] for key in lines[0] if key != "seconds_per_step"}


def files(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


def difference(one: Path, other: Path) -> float:
    """Of the weights after the last step, relative to their size."""
    ours, expected = (load_file(run / "checkpoints/00000006/weights.safetensors") for run in (one, other))
    apart = sum(float((ours[name] - tensor).square().sum()) for name, tensor in expected.items())
    return (apart / sum(float(tensor.square().sum()) for tensor in expected.values())) ** 0.5


@pytest.mark.parametrize("cache", ["off", "disk"])
def test_two_processes_train_what_one_does(
    train_tiny: Callable[..., object], tiny_recipe: Path, photos: Path, tmp_path: Path, cache: str
) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "muad"]
    command += ["train", str(photos), "--out", str(tmp_path / "two"), "--recipe", str(tiny_recipe), "--device", "cpu"]
    command += [part for setting in (*SETTINGS, f"training.cache={cache}") for part in ("--set", setting)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MUAD_CACHE": str(tmp_path / "kept")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    train_tiny(tmp_path / "one", *SETTINGS)

    # Sums over the batch are made in another order, so the last bits differ (1e-7), and the optimizer's normalised
    # steps carry that on; a threshold taken per process would be off by a thousand times as much, see below.
    ours, expected = columns(tmp_path / "two"), columns(tmp_path / "one")
    assert ours.keys() == expected.keys()
    assert ours["step"] == expected["step"] == list(range(6))
    assert ours["learning_rate"] == expected["learning_rate"]
    for term in ours:
        assert ours[term] == pytest.approx(expected[term], rel=1e-5), term
    assert difference(tmp_path / "two", tmp_path / "one") < 1e-5

    # The second process wrote nothing: same files, one line per step, every sentence said once.
    assert files(tmp_path / "two") == files(tmp_path / "one")
    assert done.stderr.count("Recognised") == 1


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


def test_phases_are_the_same_in_two_processes(photos: Path, tmp_path: Path) -> None:
    """What rests in a step has no gradient, for which other processes would wait for ever."""
    info = tmp_path / "package" / "in_turns-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: in_turns\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[muad.detectors]\nin_turns = in_turns:InTurns\n", encoding="utf-8")
    shutil.copy(Path(__file__).with_name("test_phases.py"), tmp_path / "package" / "in_turns.py")
    settings = ("detector.name=in_turns", "detector.first_steps=3", "optim.kind=adamw", "training.batch_size=4",
                "training.precision=32-true", *SETTINGS)  # fmt: skip
    train = ["-m", "muad", "train", str(photos), "--device", "cpu"]
    train += [part for setting in settings for part in ("--set", setting)]
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    paths = os.pathsep.join(filter(None, [str(tmp_path / "package"), os.environ.get("PYTHONPATH")]))
    for name, command in {"two": [*together, *train], "one": train}.items():
        done = subprocess.run(
            [sys.executable, *command, "--out", str(tmp_path / name)], capture_output=True, text=True, timeout=240,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    ours, expected = (
        load_file(tmp_path / name / "checkpoints/00000006/weights.safetensors") for name in ("two", "one")
    )
    for name, tensor in expected.items():
        if "running" not in name:  # each process has the statistics of its own images
            assert torch.allclose(ours[name].float(), tensor.float(), rtol=1e-3, atol=1e-4), name
