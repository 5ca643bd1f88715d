"""A product that leaves a run, and what is left of it."""

from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file

import muad
from muad.checkpoints.checkpoint import load_detector
from muad.decisions.limits import read_calibration, read_limits
from muad.errors import ConfigError
from muad.runs.folder import read_run
from muad.runs.history import HISTORY_FILE, read_history

from .conftest import Extended, digests


def test_nothing_of_a_forgotten_product_is_left_but_its_name_in_the_history(extended: Extended, tmp_path: Path) -> None:
    before = digests(extended.run)
    muad.forget(extended.run, "nut", tmp_path / "out", device="cpu")
    assert digests(extended.run) == before
    old, new = (load_detector(run).trainable_state() for run in (extended.run, tmp_path / "out"))
    kept = torch.cat([old["memory"][:12], old["memory"][24:]])  # bolt, nut, cap and washer lie there in this order
    assert new["memory"].equal(kept)
    assert bytes(new["shares"].tolist()) == b'[["bolt", 12], ["cap", 12], ["washer", 12]]'
    facts = read_run(tmp_path / "out")
    assert facts["categories"] == {"bolt": 8, "cap": 8, "washer": 8}
    assert facts["calibration"] == {"bolt": 4, "cap": 4, "washer": 4}
    for name in ("images.json", "data.jsonl", "limits.toml", "calibration.json", "capture.toml", "products.toml"):
        assert "nut" not in (tmp_path / "out" / name).read_text(encoding="utf-8"), name
    assert not [name for name in load_file(tmp_path / "out/products.safetensors") if name.startswith("nut")]
    assert not (tmp_path / "out/limits").exists()
    extension, entry = read_history(tmp_path / "out")
    assert (extension.kind, entry.kind, entry.forgotten, entry.memory["nut"]) == ("extend", "forget", ("nut",), (12, 0))
    named = {name for name, content in digests(tmp_path / "out").items() if b"nut" in content}
    assert named == {HISTORY_FILE}
    limits, stored = read_limits(tmp_path / "out", ()), read_calibration(tmp_path / "out")
    assert limits is not None
    assert stored is not None
    assert (sorted(limits.categories), sorted(stored.good)) == (["bolt", "cap", "washer"],) * 2
    assert stored.weights == entry.weights_after
    assert all(one.images == 4 and not one.lower for one in entry.products.values())


def test_what_cannot_be_forgotten_says_why(old_run: Path, tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"product must be one of the run's, bolt, nut, got 'cap'"):
        muad.forget(old_run, "cap", tmp_path / "out", device="cpu")
    with pytest.raises(ConfigError, match=r"got dinomaly in mode multi_class: it takes a new training without"):
        muad.forget(tiny_run, "pill_blister", tmp_path / "out", device="cpu")
    assert list(tmp_path.iterdir()) == []
