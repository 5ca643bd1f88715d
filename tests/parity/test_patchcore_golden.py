"""PatchCore against numbers recorded once from the authors' modules: patches, coreset, distances, map and score."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from muad.detectors.patchcore import PatchCore, PatchCoreConfig
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig

pytestmark = pytest.mark.shared
FRACTION = 0.1


@pytest.fixture(scope="module")
def recorded(shared_dir: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(shared_dir / "golden" / "compared" / "patchcore.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118  no mapping


@pytest.fixture(scope="module")
def detector(recorded: tuple[dict[str, torch.Tensor], dict[str, str]]) -> PatchCore:
    """The detector as a recipe of the published settings makes it, which has seen the recorded training features."""
    tensors, facts = recorded
    side = int(facts["size"])
    config = PatchCoreConfig(
        # Its finest stage has the recorded grid; the recorded features stand in for what it gives.
        encoder=EncoderConfig(name="random-resnet18", tap_layers=(2, 3)),
        resize_px=(side, side),
        crop_px=(side, side),
        pooled_width=int(facts["dims"]),
        distance="squared",
        coreset_fraction=FRACTION,
        coreset_projection=0,
        map_px=0,
        blur="reflected",
        score_from="patches",
        top_fraction=1e-6,
    )
    detector = PatchCore(config)
    features = _features(tensors, "train")
    batch = Batch(images=torch.empty(0), seeds=(), categories=("part",) * len(features[0]), features=features)
    with torch.no_grad():
        detector.fit([batch], 0, lambda *_: None)
    return detector


def _features(tensors: dict[str, torch.Tensor], which: str) -> tuple[torch.Tensor, ...]:
    count = sum(name.startswith(f"{which}.features.") for name in tensors)
    return tuple(tensors[f"{which}.features.{number}"] for number in range(count))


def _off(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("which", ["train", "test"])
def test_patches(detector: PatchCore, recorded: tuple[dict, dict], which: str) -> None:
    tensors, _ = recorded
    assert detector.grid == tuple(tensors[f"{which}.features.0"].shape[2:])
    patches = detector.patches(_features(tensors, which)).flatten(0, 1)
    assert _off(patches, tensors[f"{which}.patches"]) < 1e-5


def test_the_coreset_is_the_recorded_one_in_its_order(detector: PatchCore, recorded: tuple[dict, dict]) -> None:
    tensors, _ = recorded
    assert len(detector.memory) == len(tensors["coreset.indices"])
    patches = detector.patches(_features(tensors, "train")).flatten(0, 1)
    assert detector.memory.equal(patches[tensors["coreset.indices"]])


def test_distances_map_and_score(detector: PatchCore, recorded: tuple[dict, dict]) -> None:
    tensors, _ = recorded
    found = detector.distances(detector.patches(_features(tensors, "test")))
    assert _off(found["distance"].flatten(), tensors["test.squared_distance"]) < 1e-5
    maps, scores = detector.map_head({name: tensor.numpy() for name, tensor in found.items()})
    assert _off(torch.from_numpy(maps), tensors["test.map"]) < 1e-5
    np.testing.assert_allclose(scores, tensors["test.score"], rtol=1e-5)
