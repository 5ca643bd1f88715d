"""What an insertion leaves of a memory: of known products, of new ones, and of those that are forgotten."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muad.checkpoints.checkpoint import load_weights, save_checkpoint
from muad.detectors.memory_shares import MemoryShares
from muad.detectors.neighbours import greedy_coreset
from muad.detectors.patchcore import PatchCore, PatchCoreConfig
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.encoders.families import VitLayout
from muad.errors import CheckpointError, ConfigError
from muad.runs.folder import checkpoints

SIZE = (28, 28)  # 4 x 4 patches


def make(**changes: object) -> PatchCore:
    layout = VitLayout(width=16, depth=2, heads=2, patch_px=7, registers=0, position_grid=4)
    encoder = EncoderConfig(name="random-custom", layout=layout, tap_layers=(0, 1))
    given: dict[str, object] = {"encoder": encoder, "resize_px": SIZE, "crop_px": SIZE, "map_px": 16}
    return PatchCore(PatchCoreConfig(**(given | {"coreset_fraction": 0.25} | changes)))  # type: ignore[arg-type]


def show(detector: PatchCore, product: str, images: int, seed: int) -> torch.Tensor:
    """The detector takes in random images of a product; their patches."""
    shown = torch.randn(images, 3, *SIZE, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        detector.fit([Batch(images=shown, seeds=(), categories=(product,) * images)], 0, lambda *_: None)
        return detector.patches(detector.encode(shown)).flatten(0, 1)


def brute_force(points: torch.Tensor, count: int, known: torch.Tensor) -> list[int]:
    """Always the candidate farthest from all that is there, by a table of all distances."""
    there, chosen = known, list[int]()
    for _ in range(count):
        away = torch.cdist(points.double(), there.double()).amin(1)
        away[chosen] = -1
        chosen.append(int(away.argmax()))
        there = torch.cat([there, points[chosen[-1:]]])
    return chosen


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), known=st.integers(1, 12), count=st.integers(1, 9))
def test_beside_known_patches_the_farthest_candidate_comes_next(seed: int, known: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    before, points = torch.randn(known, 6, generator=generator), torch.randn(20, 6, generator=generator)
    assert greedy_coreset(points, count, beside=before).tolist() == brute_force(points, count, before)


def test_a_new_product_is_remembered_as_if_it_were_the_first_and_the_others_stay_bit_for_bit() -> None:
    both, alone = make(), make()
    alone.load_state_dict(both.state_dict())
    show(both, "bolt", 3, 1)
    before = both.memory.clone()
    show(both, "cap", 2, 2)
    show(alone, "cap", 2, 2)
    assert both.memory[: len(before)].equal(before)
    assert both.memory[len(before) :].equal(alone.memory)
    assert both.remembered() == {"bolt": 12, "cap": 8}


def test_new_parts_of_a_known_product_add_what_is_farthest_from_its_own_and_all_else_stays() -> None:
    detector = make(coreset_projection=0)
    show(detector, "bolt", 3, 1)
    show(detector, "cap", 2, 2)
    bolt, cap = detector.memory[:12].clone(), detector.memory[12:].clone()
    candidates = show(detector, "bolt", 2, 3)
    assert detector.remembered() == {"bolt": 12 + 8, "cap": 8}
    assert detector.memory[:12].equal(bolt)
    assert detector.memory[12:20].equal(candidates[brute_force(candidates, 8, bolt)])
    assert detector.memory[20:].equal(cap)


@pytest.mark.parametrize("coreset", ["greedy", "random"])
def test_a_full_share_is_thinned_from_old_and_new_together_and_the_other_products_stay(coreset: str) -> None:
    detector = make(most_patches=10, coreset=coreset)
    show(detector, "bolt", 3, 1)
    show(detector, "cap", 3, 2)
    bolt, cap = detector.memory[:10].clone(), detector.memory[10:].clone()
    candidates = show(detector, "bolt", 3, 3)
    assert detector.remembered() == {"bolt": 10, "cap": 10}
    assert detector.memory[10:].equal(cap)
    if coreset == "greedy":
        together = torch.cat([bolt, candidates])
        assert detector.memory[:10].equal(together[greedy_coreset(together, 10, 0, projection=64)])
    rows = {tuple(row) for row in torch.cat([bolt, candidates]).tolist()}
    assert {tuple(row) for row in detector.memory[:10].tolist()} <= rows


def test_forgetting_leaves_no_patch_of_a_product_and_every_one_of_the_others(tmp_path: Path) -> None:
    detector, fresh = make(), make()
    show(detector, "bolt", 3, 1)
    middle = show(detector, "naïve cap", 2, 2)
    show(detector, "nut", 2, 3)
    left = torch.cat([detector.memory[:12], detector.memory[20:]])
    detector.forget("naïve cap")
    assert detector.memory.equal(left)
    assert torch.cdist(detector.memory, middle).min() > 1e-3
    save_checkpoint(tmp_path, 7, detector, None)
    load_weights(checkpoints(tmp_path)[-1], fresh)
    assert fresh.memory.equal(left)
    assert fresh.remembered() == {"bolt": 12, "nut": 8}


def test_a_memory_of_an_older_release_is_read_takes_new_products_and_says_why_it_cannot_forget() -> None:
    old = make()
    show(old, "bolt", 3, 1)
    saved = {"memory": old.memory.clone()}
    read = make()
    read.make_room({name: tensor.shape for name, tensor in saved.items()})
    assert read.trainable_state().keys() == {"memory"}
    read.trainable_state()["memory"].copy_(saved["memory"])
    show(read, "cap", 2, 2)
    assert read.remembered() == {"cap": 8}
    assert read.memory[:12].equal(saved["memory"])
    with pytest.raises(ConfigError, match=r"got 'bolt': it was trained by a release that did not write down which"):
        read.forget("bolt")
    read.forget("cap")
    assert read.memory.equal(saved["memory"])


def test_one_coreset_of_all_products_knows_none_of_them_apart() -> None:
    detector = make(coreset_of="all")
    show(detector, "bolt", 3, 1)
    assert detector.remembered() == {}
    with pytest.raises(ConfigError, match=r"one coreset stands for all products"):
        detector.forget("bolt")


def test_damaged_shares_are_named() -> None:
    shares = MemoryShares.room(torch.Size([4]), 12)
    with pytest.raises(CheckpointError, match=r"shares of the memory must be pairs of product and number"):
        _ = shares.named
