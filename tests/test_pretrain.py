"""The pretraining script: runs on a folder of photographs, resumes exactly, writes what the encoder reads."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from muad.nn.encoder import EncoderConfig, build_encoder

SCRIPTS = Path(__file__).parents[1] / "pretrain"


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        coarse = rng.integers(0, 255, (8, 10, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{i}.jpg"), cv2.resize(coarse, (80, 64)))
    return folder


@pytest.fixture
def pretrain(monkeypatch, photographs, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import pretrain as script

    def run(name, *extra):
        out = tmp_path / name / "weights.safetensors"
        options = "--drawings 4 --pack-px 64 --batch-views 6 --view-px 28 42 --view-until 1 --steps 2 --decay-steps 1"
        fixed = [*options.split(), "--log-every", "1", "--save-every", "1", "--precision", "32-true"]
        paths = ["--images", str(photographs), "--run-dir", str(tmp_path / name / "run"), "--out", str(out)]
        monkeypatch.setattr(sys, "argv", ["pretrain.py", *fixed, *paths, *extra])
        script.main()
        return out

    return run


def test_a_broken_run_ends_with_the_tensors_of_an_unbroken_one(pretrain):
    unbroken = load_file(pretrain("unbroken"))
    pretrain("broken", "--minutes", "0")
    broken = load_file(pretrain("broken"))
    assert all(torch.equal(unbroken[name], broken[name]) for name in unbroken)


def test_the_written_file_is_an_encoder_of_at_most_12_megabytes(pretrain):
    file = pretrain("one")
    assert file.stat().st_size <= 12e6
    encoder = build_encoder(EncoderConfig(name="muad-tiny", weights=file), (28, 42))
    tokens = encoder(torch.zeros(1, 3, 28, 42))
    assert all(t.shape == (1, 11, 192) and t.isfinite().all() for t in tokens)
