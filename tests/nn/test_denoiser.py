import sys

import pytest
import torch

from muad.errors import ConfigError
from muad.nn.denoiser import Denoiser, DenoiserConfig

TINY = DenoiserConfig(width=16, multipliers=(1, 1, 2), blocks_per_level=1, attention_levels=2, heads=2)


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(TINY, (32, 32))


def test_an_untrained_one_predicts_no_noise(denoiser: Denoiser) -> None:
    with torch.no_grad():
        predicted = denoiser(torch.randn(2, 3, 32, 48), torch.tensor([3, 500]))
    assert predicted.shape == (2, 3, 32, 48)
    assert (predicted == 0).all()


def test_residual_branches_begin_as_nothing(denoiser: Denoiser) -> None:
    state = denoiser.state_dict()
    ends = [name for name in state if name.endswith(("conv2.weight", "conv2.bias", "to_out.0.weight", "to_out.0.bias"))]
    assert len(ends) > 20
    assert all((state[name] == 0).all() for name in ends)


def test_every_level_has_the_same_number_of_heads(denoiser: Denoiser) -> None:
    attentions = [module for module in denoiser.modules() if type(module).__name__ == "Attention"]
    assert {module.to_q.out_features for module in attentions} == {16, 32}
    assert {module.heads for module in attentions} == {2}
    assert all(module.scale == (module.to_q.out_features / 2) ** -0.5 for module in attentions)


def test_attention_takes_the_heads_it_is_given() -> None:
    """Against softmax attention written out, at the wide level, where diffusers would have had four heads."""
    torch.manual_seed(0)
    attention = next(
        module
        for module in Denoiser(TINY, (32, 32)).modules()
        if type(module).__name__ == "Attention" and module.to_q.out_features == 32
    )
    torch.nn.init.eye_(attention.to_out[0].weight)
    hidden = torch.randn(1, 32, 4, 4)
    tokens = attention.group_norm(hidden.flatten(2)).transpose(1, 2)
    query, key, value = (
        layer(tokens).view(1, 16, 2, 16).transpose(1, 2) for layer in (attention.to_q, attention.to_k, attention.to_v)
    )
    mixed = (query @ key.transpose(2, 3) / 4).softmax(dim=-1) @ value
    expected = hidden + mixed.transpose(1, 2).reshape(1, 16, 32).transpose(1, 2).reshape(1, 32, 4, 4)
    assert attention(hidden).allclose(expected, atol=1e-5)


def test_the_timestep_matters_once_trained() -> None:
    torch.manual_seed(0)
    denoiser, images = Denoiser(TINY, (32, 32)), torch.randn(2, 3, 32, 32)
    for tensor in (denoiser.network.conv_out.weight, denoiser.network.mid_block.resnets[0].conv2.weight):
        torch.nn.init.normal_(tensor, std=0.1)
    with torch.no_grad():
        assert not denoiser(images, torch.tensor([3, 3])).allclose(denoiser(images, torch.tensor([3, 700])))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"width": 4}, "width"),
        ({"multipliers": (1,)}, "multipliers"),
        ({"multipliers": (0.3, 1)}, "multipliers"),
        ({"blocks_per_level": 0}, "blocks_per_level"),
        ({"attention_levels": 9}, "attention_levels"),
        ({"heads": 3}, "heads"),
    ],
)
def test_impossible_sizes_are_named(changes: dict[str, object], name: str) -> None:
    with pytest.raises(ConfigError, match=f"detector.denoiser.{name} must be"):
        DenoiserConfig(**changes)


def test_without_diffusers_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ConfigError, match=r"pip install muad\[diffusion\]"):
        Denoiser(TINY, (32, 32))
