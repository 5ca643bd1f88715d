"""The selective scan and its gradient, held against one place after the other."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import muad.nn.selective_scan as module
from muad.errors import ConfigError
from muad.nn.selective_scan import require_backend, selective_scan, selective_scan_as_ops


def one_by_one(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, bias: Tensor) -> Tensor:
    delta = F.softplus(delta + bias[:, None])
    state, said = u.new_zeros(*u.shape[:2], a.shape[1]), []
    for t in range(u.shape[2]):
        state = (
            torch.exp(delta[:, :, t, None] * a) * state + (delta[:, :, t] * u[:, :, t])[..., None] * b[:, None, :, t]
        )
        said.append((state * c[:, None, :, t]).sum(-1) + d * u[:, :, t])
    return torch.stack(said, dim=-1)


def drawn(places: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(places)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return [
        draw(2, 3, places), draw(2, 3, places), -torch.exp(draw(3, 4)), draw(2, 4, places), draw(2, 4, places),
        draw(3), draw(3),
    ]  # fmt: skip


@pytest.mark.parametrize("busy", [1, 100, 10**6], ids=["one chunk", "some", "many"])
@pytest.mark.parametrize("places", [1, 2, 7, 20, 64])
def test_values_and_gradients_are_those_of_one_place_after_the_other(
    places: int, busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUSY_CPU", busy)
    monkeypatch.setattr(module, "_NEAR_CPU", 500)  # some channels at a time
    arguments = [argument.requires_grad_() for argument in drawn(places)]
    ours, expected = selective_scan(*arguments), one_by_one(*arguments)
    assert torch.allclose(ours, expected, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(selective_scan(*arguments), ours)
    weight = torch.randn(ours.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gradients = torch.autograd.grad((ours * weight).sum(), arguments)
    wanted = torch.autograd.grad((expected * weight).sum(), arguments)
    for gradient, want in zip(gradients, wanted, strict=True):
        assert torch.allclose(gradient, want, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("places", [1, 7, 16, 50, 300])
def test_what_is_exported_is_the_same(places: int) -> None:
    inputs, delta, decay, write, read, skip, bias = drawn(places)
    expected = selective_scan(inputs, delta, decay, write, read, skip, bias)
    group = (inputs[:, None], delta[:, None], decay[None], write[:, None], read[:, None], skip[None], bias[None])
    assert torch.allclose(selective_scan_as_ops(*group)[:, 0], expected, rtol=1e-12, atol=1e-12)


def test_the_cuda_kernel_is_asked_for_by_name_of_its_package() -> None:
    require_backend("torch")
    with pytest.raises(ConfigError, match="mamba-ssm"):
        require_backend("cuda")
