"""Token mixers against their formulas written out, token by token where that is possible."""

import math

import pytest
import torch
import torch.nn.functional as F

from muad.nn.attention import ConvMixer, LinearAttention, SoftmaxAttention, _positive, neighbour_mask

WIDTH, HEADS, GRID, PREFIX = 16, 2, (3, 4), 2
COUNT = PREFIX + GRID[0] * GRID[1]


def tokens(seed: int = 0, count: int = COUNT) -> torch.Tensor:
    return torch.randn(2, count, WIDTH, generator=torch.Generator().manual_seed(seed))


def seeded(module: torch.nn.Module) -> torch.nn.Module:
    draw = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draw) * 0.5
    return module


def quadratic(module: LinearAttention | SoftmaxAttention, x: torch.Tensor, keep: torch.Tensor | None, kind: str):
    """Every weight of every token on every other, in float64."""
    x = x.double()
    weight, bias = module.qkv.weight.double(), module.qkv.bias.double()
    q, k, v = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in F.linear(x, weight, bias).chunk(3, dim=-1))
    if kind == "linear":
        weights = (F.elu(q) + 1) @ (F.elu(k) + 1).transpose(2, 3)
        weights = weights if keep is None else weights * keep
        weights = weights / weights.sum(-1, keepdim=True)
    else:
        weights = (q @ k.transpose(2, 3) / math.sqrt(WIDTH // HEADS)).softmax(-1)
        weights = weights if keep is None else weights * keep  # not normalised again, as the authors do it
    mixed = (weights @ v).transpose(1, 2).flatten(2)
    return F.linear(mixed, module.proj.weight.double(), module.proj.bias.double())


@pytest.mark.parametrize("mask_size", [0, 1, 3])
@pytest.mark.parametrize("kind", ["linear", "softmax"])
def test_attention_is_its_quadratic_form(kind: str, mask_size: int) -> None:
    keep = neighbour_mask(GRID, mask_size, PREFIX) if mask_size else None
    if kind == "linear":
        module = seeded(LinearAttention(WIDTH, HEADS, eps=0.0, keep=keep))
    else:
        module = seeded(SoftmaxAttention(WIDTH, HEADS, keep=keep))
    with torch.no_grad():
        ours, expected = module(tokens()), quadratic(module, tokens(), keep, kind)
    assert (ours.double() - expected).norm() / expected.norm() < 1e-6


def test_linear_attention_with_a_mask_that_hides_nothing_is_the_one_without() -> None:
    plain = seeded(LinearAttention(WIDTH, HEADS, eps=0.0))
    masked = seeded(LinearAttention(WIDTH, HEADS, eps=0.0, keep=torch.ones(COUNT, COUNT, dtype=torch.bool)))
    with torch.no_grad():
        assert plain(tokens()).allclose(masked(tokens()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mixer", ["linear", "softmax"])
@pytest.mark.parametrize("size", [1, 3])
def test_masked_neighbours_have_no_influence_and_all_others_have(mixer: str, size: int) -> None:
    """What a patch gets must not depend on a hidden neighbour; in the authors' default module it does.

    Softmax weights are masked after the softmax, so there only the neighbour's value is hidden, not its key.
    """
    keep = neighbour_mask(GRID, size, PREFIX)
    if mixer == "linear":
        module = seeded(LinearAttention(WIDTH, HEADS, eps=0.0, keep=keep))
    else:
        module = seeded(SoftmaxAttention(WIDTH, HEADS, keep=keep))
        module.qkv.weight.data[: 2 * WIDTH] = 0  # constant keys: only values move
    base = tokens()
    with torch.no_grad():
        before = module(base)
        for source in range(COUNT):
            moved = base.clone()
            moved[:, source] += 1.0
            changed = (module(moved) - before).abs().amax(dim=(0, 2)) > 1e-5
            for target in range(COUNT):
                # A moved token's own query moves its output too, unless the queries are constant.
                if target == source and mixer == "linear":
                    continue
                assert changed[target] == keep[target, source], (target, source)


@pytest.mark.parametrize("grid", [(1, 1), (3, 4), (5, 2)])
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("prefix", [0, 5])
def test_neighbour_mask_by_brute_force(grid: tuple[int, int], size: int, prefix: int) -> None:
    keep = neighbour_mask(grid, size, prefix)
    count = prefix + grid[0] * grid[1]
    assert keep.shape == (count, count)
    for s in range(count):
        for t in range(count):
            expected = True
            if s >= prefix and t >= prefix:
                (r1, c1), (r2, c2) = divmod(s - prefix, grid[1]), divmod(t - prefix, grid[1])
                expected = abs(r1 - r2) > size // 2 or abs(c1 - c2) > size // 2
            assert keep[s, t] == expected


def test_prefix_tokens_see_all_and_are_seen_by_all() -> None:
    keep = neighbour_mask(GRID, 3, PREFIX)
    assert keep[:PREFIX].all()
    assert keep[:, :PREFIX].all()


@pytest.mark.parametrize("masked", [False, True])
def test_eps_keeps_linear_attention_finite_when_all_keys_vanish(masked: bool) -> None:
    keep = neighbour_mask(GRID, 1, PREFIX) if masked else None
    outputs = {}
    for eps in (0.0, 1e-6):
        module = seeded(LinearAttention(WIDTH, HEADS, eps=eps, keep=keep))
        module.qkv.weight.data[WIDTH : 2 * WIDTH] = 0
        module.qkv.bias.data[WIDTH : 2 * WIDTH] = -200.0  # elu(-200) + 1 is 0 in float32
        with torch.no_grad():
            outputs[eps] = module(tokens())
    assert not outputs[0.0].isfinite().any()
    assert outputs[1e-6].isfinite().all()


def test_kernel_is_elu_plus_one_and_keeps_its_digits_where_that_rounds_to_zero() -> None:
    values = torch.linspace(-8.0, 8.0, 401)
    assert _positive(values).allclose(F.elu(values) + 1, rtol=1e-4, atol=1e-7)
    small = torch.tensor([-20.0, -60.0])
    assert (F.elu(small) + 1 == 0).all()
    assert _positive(small).double().log().allclose(small.double(), rtol=1e-6)


def test_eps_does_not_change_ordinary_tokens() -> None:
    with torch.no_grad():
        exact, safe = (seeded(LinearAttention(WIDTH, HEADS, eps=eps))(tokens()) for eps in (0.0, 1e-6))
    assert (exact - safe).abs().max() < 1e-5


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("grid", [(4, 4), (3, 6), (1, 5)])
def test_convolution_sees_the_grid_it_was_built_for(kernel_size: int, grid: tuple[int, int]) -> None:
    """One patch moves: what changes is exactly the window around it on the grid, also on rectangles."""
    module = seeded(ConvMixer(WIDTH, kernel_size=kernel_size, grid=grid))
    base = tokens(count=grid[0] * grid[1])
    for source in range(grid[0] * grid[1]):
        moved = base.clone()
        moved[:, source] += 1.0
        with torch.no_grad():
            changed = (module(moved) - module(base)).abs().amax(dim=(0, 2)).unflatten(0, grid) > 1e-6
        row, column = divmod(source, grid[1])
        rows, columns = torch.arange(grid[0])[:, None], torch.arange(grid[1])
        near = ((rows - row).abs() <= kernel_size // 2) & ((columns - column).abs() <= kernel_size // 2)
        assert torch.equal(changed, near)


def test_half_precision_tokens_come_back_in_half_precision() -> None:
    module = seeded(LinearAttention(WIDTH, HEADS, eps=1e-6))
    with torch.no_grad():
        exact = module(tokens())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = module(tokens())
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).norm() / exact.norm() < 0.02


def test_the_gradient_of_the_kernel_is_that_of_its_plain_form_to_the_bit() -> None:
    values = torch.linspace(-30.0, 30.0, 7000).requires_grad_()  # none of them 0, where elu has two slopes
    weights = torch.rand(7000, generator=torch.Generator().manual_seed(0))
    (plain,) = torch.autograd.grad(torch.exp(-F.relu(-values)) + F.relu(values), values, weights)
    (ours,) = torch.autograd.grad(_positive(values), values, weights)
    assert torch.equal(ours, plain)
    with torch.no_grad():
        without = _positive(values)
    assert torch.equal(_positive(values), without)
