"""The hub with no network: what is in the cache is used, what is not is refused at once with the remedy."""

import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from muad.encoders.encoder import EncoderConfig, build_encoder
from muad.encoders.hub import fetch_encoder, hub_reachable
from muad.encoders.networks import construct_network, timm_family
from muad.errors import CheckpointError, ConfigError

TINY = "timm:test_vit2.r160_in1k"  # width 64, 8 blocks, no class token, one register
TAPS = (1, 3)


@pytest.fixture
def offline_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put_into_cache(cache: Path) -> dict[str, torch.Tensor]:
    """What a download of the tiny timm encoder would have left behind."""
    state = construct_network(timm_family(TINY.removeprefix("timm:")), None, seed=1).state_dict()
    repository = cache / "models--timm--test_vit2.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123")
    (repository / "snapshots" / "0123").mkdir(parents=True)
    save_file(state, repository / "snapshots" / "0123" / "model.safetensors")
    return dict(state)


def test_without_network_the_remedy_is_one_line_and_comes_at_once(offline_cache: Path) -> None:
    start = time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        build_encoder(EncoderConfig(name="dinov2-reg-base"), (392, 392))
    assert time.monotonic() - start < 5
    assert str(caught.value) == (
        "encoder dinov2-reg-base must have its weights (timm/vit_base_patch14_reg4_dinov2.lvd142m) in the local cache "
        "or from the hub, got: the hub cannot be reached. Run `muad fetch-encoder dinov2-reg-base --to "
        "dinov2-reg-base.safetensors` on a machine with network, then pass that file: --encoder-weights FILE, or "
        "detector.encoder.weights in the recipe."
    )
    assert not offline_cache.exists()


def test_an_unreachable_hub_is_reported_within_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    assert not hub_reachable(1.0)
    assert time.monotonic() - start < 2


def test_cached_weights_need_no_network(offline_cache: Path) -> None:
    state = put_into_cache(offline_cache)
    encoder = build_encoder(EncoderConfig(name=TINY, tap_layers=TAPS), (32, 48))
    assert encoder.prefix_tokens == 1
    assert encoder(torch.zeros(1, 3, 32, 48))[1].shape == (1, 7, 64)
    assert torch.equal(encoder.network.state_dict()["reg_token"], state["reg_token"])


def test_a_fetched_file_gives_the_same_encoder(offline_cache: Path, tmp_path: Path) -> None:
    state = put_into_cache(offline_cache)
    file = tmp_path / "new" / "tiny.safetensors"
    fetch_encoder(TINY, file)
    assert load_file(file).keys() == state.keys()
    assert [path.name for path in file.parent.iterdir()] == ["tiny.safetensors"]
    cached = build_encoder(EncoderConfig(name=TINY, tap_layers=TAPS), (32, 32))
    fetched = build_encoder(EncoderConfig(name=TINY, tap_layers=TAPS, weights=file), (32, 32))
    assert fetched.fingerprint == cached.fingerprint


def test_a_place_that_cannot_be_written_is_named_and_left_as_it_was(offline_cache: Path, tmp_path: Path) -> None:
    put_into_cache(offline_cache)
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(CheckpointError, match=r"taken/tiny\.safetensors must be writable"):
        fetch_encoder(TINY, tmp_path / "taken" / "tiny.safetensors")
    assert (tmp_path / "taken").read_text() == "a file, not a folder"


@pytest.mark.parametrize("name", ["ibot-small", "muad-tiny", "random-vit-tiny", "no-such"])
def test_only_published_encoders_can_be_fetched(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"must be one of .*dinov2-reg-base.* got {name}"):
        fetch_encoder(name, tmp_path / "x.safetensors")


def test_an_encoder_is_fetched_into_safetensors_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.safetensors, got x\.pth"):
        fetch_encoder("dinov2-reg-base", tmp_path / "x.pth")


def test_an_unknown_timm_name_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be known to timm, got vit_unheard_of"):
        fetch_encoder("timm:vit_unheard_of", tmp_path / "x.safetensors")
