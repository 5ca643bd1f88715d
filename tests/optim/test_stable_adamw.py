"""StableAdamW against its update written out in numpy, one tensor at a time, in float64."""

import numpy as np
import pytest
import torch

from muad.errors import ConfigError
from muad.optim import StableAdamW

Arrays = list[np.ndarray]


def written_out(
    parameter: np.ndarray, gradients: Arrays, *, lr: float, wd: float, eps: float, amsgrad: bool, clip: float
) -> tuple[Arrays, list[float]]:
    """Parameter after every step, and by how much each step was damped."""
    b1, b2 = 0.9, 0.999
    p, m, v, largest = parameter.copy(), np.zeros_like(parameter), np.zeros_like(parameter), np.zeros_like(parameter)
    path, dampings = [], []
    for t, g in enumerate(gradients, start=1):
        p = p * (1 - lr * wd)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        largest = np.maximum(largest, v) if amsgrad else v
        scale = np.sqrt(largest) / np.sqrt(1 - b2**t) + eps
        damping = max(1.0, np.sqrt(np.mean((g / scale) ** 2)) / clip)
        p = p - lr / ((1 - b1**t) * damping) * m / scale
        path.append(p.copy())
        dampings.append(damping)
    return path, dampings


def bursts(shape: tuple[int, ...], steps: int = 12) -> Arrays:
    """Gradients that grow a hundredfold at times, so that the damping has something to do, and shrink again."""
    draw = np.random.default_rng(0)
    return [draw.normal(size=shape) * (100.0 if step in (4, 9) else 1.0) for step in range(steps)]


def run(parameter: np.ndarray, gradients: Arrays, **settings: float) -> Arrays:
    tensor = torch.tensor(parameter, requires_grad=True)
    optimizer = StableAdamW([tensor], **settings)
    path = []
    for gradient in gradients:
        tensor.grad = torch.tensor(gradient)
        optimizer.step()
        path.append(tensor.detach().numpy().copy())
    return path


@pytest.mark.parametrize("amsgrad", [True, False])
@pytest.mark.parametrize("clip", [1.0, 0.3])
@pytest.mark.parametrize("eps", [1e-10, 1e-2])
@pytest.mark.parametrize("foreach", [True, False])
def test_update_is_the_authors(amsgrad: bool, clip: float, eps: float, foreach: bool) -> None:
    start = np.random.default_rng(1).normal(size=(3, 5))
    gradients = bursts((3, 5))
    expected, dampings = written_out(start, gradients, lr=2e-3, wd=1e-2, eps=eps, amsgrad=amsgrad, clip=clip)
    ours = run(
        start, gradients, lr=2e-3, weight_decay=1e-2, eps=eps, amsgrad=amsgrad, clip_threshold=clip, foreach=foreach
    )
    for got, want in zip(ours, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)
    assert max(dampings) > 2


def test_amsgrad_divides_by_the_largest_moment_before_bias_correction() -> None:
    """After a large gradient and many small ones the two differ, and by what the formula says."""
    gradients = [np.array([10.0]), *[np.array([1e-3])] * 50]
    with_maximum = run(np.zeros(1), gradients, lr=1e-2, weight_decay=0.0, amsgrad=True)[-1]
    without = run(np.zeros(1), gradients, lr=1e-2, weight_decay=0.0, amsgrad=False)[-1]
    assert with_maximum != pytest.approx(without, rel=1e-4)
    torch_adamw = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.AdamW([torch_adamw], lr=1e-2, weight_decay=0.0, amsgrad=True)
    for gradient in gradients:
        torch_adamw.grad = torch.tensor(gradient)
        optimizer.step()
    assert with_maximum == pytest.approx(torch_adamw.item(), rel=1e-6)  # one number: no damping to tell them apart


def test_damping_is_that_of_one_tensor_alone() -> None:
    """A burst in one tensor does not slow another."""
    calm, wild = bursts((4,), 6), [100 * g if step == 3 else g for step, g in enumerate(bursts((4,), 6))]
    tensors = [torch.zeros(4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    optimizer = StableAdamW(tensors, lr=1e-2, weight_decay=0.0)
    for step in range(6):
        tensors[0].grad, tensors[1].grad = torch.tensor(calm[step]), torch.tensor(wild[step])
        optimizer.step()
    alone = run(np.zeros(4), calm, lr=1e-2, weight_decay=0.0)[-1]
    np.testing.assert_allclose(tensors[0].detach().numpy(), alone, rtol=1e-12)


def test_a_burst_is_damped_to_about_one_rate() -> None:
    calm = [np.ones(10)] * 200
    before, after = run(np.zeros(10), [*calm, 1e4 * np.ones(10)], lr=1e-2, weight_decay=0.0)[-2:]
    assert np.abs(after - before).max() < 1.05e-2
    undamped = run(np.zeros(10), [*calm, 1e4 * np.ones(10)], lr=1e-2, weight_decay=0.0, clip_threshold=1e9)[-2:]
    assert np.abs(undamped[1] - undamped[0]).max() > 1.25e-2


def test_rate_zero_moves_the_moments_and_nothing_else() -> None:
    """The first step of the warm-up."""
    tensor = torch.ones(3, requires_grad=True)
    optimizer = StableAdamW([tensor], lr=0.0, weight_decay=1e-4, amsgrad=True)
    tensor.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(tensor, torch.ones(3))
    assert optimizer.state[tensor]["exp_avg"].allclose(torch.full((3,), 0.1))
    assert optimizer.state[tensor]["max_exp_avg_sq"].allclose(torch.full((3,), 0.001))


def test_all_tensors_at_once_move_as_one_after_the_other() -> None:
    shapes = [(3, 5), (7,), (2, 2, 2)]
    paths = []
    for foreach in (True, False):
        draw = torch.Generator().manual_seed(0)
        tensors = [torch.randn(shape, generator=draw).requires_grad_() for shape in shapes]
        optimizer = StableAdamW(tensors, lr=1e-2, amsgrad=True, foreach=foreach)
        for step in range(6):
            for number, tensor in enumerate(tensors):
                # The second tensor joins late, so that steps differ, and one gradient bursts at a time.
                late = number == 1 and step < 2
                burst = 100.0 if step == 3 + number else 1.0
                tensor.grad = None if late else burst * torch.randn(tensor.shape, generator=draw)
            optimizer.step()
        paths.append(torch.cat([tensor.detach().flatten() for tensor in tensors]))
    assert paths[0].allclose(paths[1], rtol=1e-6, atol=0)


@pytest.mark.parametrize("foreach", [True, False])
def test_tensors_without_a_gradient_stay(foreach: bool) -> None:
    tensors = [torch.ones(2, requires_grad=True) for _ in range(2)]
    optimizer = StableAdamW(tensors, lr=1.0, weight_decay=0.5, foreach=foreach)
    tensors[0].grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(tensors[1], torch.ones(2))
    assert not torch.equal(tensors[0], torch.ones(2))


def test_state_continues_where_it_stopped() -> None:
    gradients = bursts((4,), 8)
    whole = run(np.ones(4), gradients, lr=1e-2, amsgrad=True)[-1]
    first = torch.ones(4, dtype=torch.float64, requires_grad=True)
    optimizer = StableAdamW([first], lr=1e-2, amsgrad=True)
    for gradient in gradients[:5]:
        first.grad = torch.tensor(gradient)
        optimizer.step()
    second = first.detach().clone().requires_grad_()
    continued = StableAdamW([second], lr=1e-2, amsgrad=True)
    continued.load_state_dict(optimizer.state_dict())
    for gradient in gradients[5:]:
        second.grad = torch.tensor(gradient)
        continued.step()
    assert np.array_equal(second.detach().numpy(), whole)


def test_closure_gives_the_loss() -> None:
    tensor = torch.ones(2, requires_grad=True)
    optimizer = StableAdamW([tensor], lr=1e-2)

    def closure() -> float:
        optimizer.zero_grad()
        loss = tensor.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 2.0
    assert (tensor < 1).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "optim.lr must be at least 0, got -1.0"),
        ({"eps": -1e-8}, "optim.eps must be at least 0"),
        ({"weight_decay": -0.1}, "optim.weight_decay must be at least 0"),
        ({"betas": (0.9, 1.0)}, r"optim.betas must lie in \[0, 1\)"),
        ({"clip_threshold": 0.0}, "optim.clip_threshold must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StableAdamW([torch.zeros(1, requires_grad=True)], **settings)
