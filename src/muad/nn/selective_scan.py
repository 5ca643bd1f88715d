"""Selective scan: a linear recurrence whose coefficients depend on what is read, and its gradient, in plain torch.

    x_t = exp(delta_t A) x_(t-1) + delta_t B_t u_t        y_t = <C_t, x_t> + D u_t

For every channel a state of a few numbers, which starts at zero. The recurrence is exact: the sequence is cut into
chunks, all of them advance side by side from a state of zero, then each is given what the chunk before it ended in. So
a sequence of n places takes down to 2 sqrt(n) steps on large tensors in place of n on small ones.

What autograd would keep, the states of all places, is far more than all else; so only the arguments are kept, and the
states are computed once more on the way back.

References:
    Gu and Dao, Mamba: Linear-Time Sequence Modeling with Selective State Spaces, arXiv:2312.00752; official code
    state-spaces/mamba (Apache-2.0), `selective_scan_ref`, written anew here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F

from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

ScanBackend = Literal["torch", "cuda"]
_BUSY_CPU = 4096  # numbers to a step from which on a CPU spends its time on them and not between them
_NEAR_CPU = 2**19  # numbers that stay in its caches
_CHUNK = 16  # places to a chunk where the scan is exported


def selective_scan(
    inputs: Float[Tensor, "b d n"],
    delta: Float[Tensor, "b d n"],
    decay: Float[Tensor, "d s"],
    write: Float[Tensor, "b s n"],
    read: Float[Tensor, "b s n"],
    skip: Float[Tensor, " d"],
    delta_bias: Float[Tensor, " d"],
) -> Float[Tensor, "b d n"]:
    """What the recurrence says at every place.

    Args:
        inputs: u, what is read, channel by channel.
        delta: How far each step goes, before its bias and softplus.
        decay: A, negative.
        write: B, how what is read enters the state; the same for all channels.
        read: C, how the state is read.
        skip: D.
        delta_bias: Added to `delta`.
    """
    step = F.softplus(delta + delta_bias[:, None])
    channels = inputs.shape[1]
    if inputs.device.type == "cpu":
        channels = max(1, _NEAR_CPU * channels // (inputs.numel() * decay.shape[1]))
    parted = zip(
        torch.split(inputs, channels, 1), torch.split(step, channels, 1), torch.split(decay, channels), strict=True
    )
    said = torch.cat([_scan(part, steps, own, write, read) for part, steps, own in parted], dim=1)
    return said + skip[:, None] * inputs


def _scan(inputs: Tensor, step: Tensor, decay: Tensor, write: Tensor, read: Tensor) -> Float[Tensor, "b d n"]:
    """<C, x> of some channels."""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (inputs, step, decay, write, read)):
        said: Tensor = _Scan.apply(inputs, step, decay, write, read)
        return said
    return _said(_states(*_coefficients(inputs, step, decay, write)), read)


def selective_scan_cuda(
    inputs: Float[Tensor, "b d n"],
    delta: Float[Tensor, "b d n"],
    decay: Float[Tensor, "d s"],
    write: Float[Tensor, "b k s n"],
    read: Float[Tensor, "b k s n"],
    skip: Float[Tensor, " d"],
    delta_bias: Float[Tensor, " d"],
) -> Float[Tensor, "b d n"]:
    """As `selective_scan`, by the authors' kernel; channels are in k equal groups that share B and C."""
    said: Tensor = _kernel()(inputs, delta, decay, write, read, skip, delta_bias=delta_bias, delta_softplus=True)
    return said


def selective_scan_as_ops(
    inputs: Float[Tensor, "b k d n"],
    delta: Float[Tensor, "b k d n"],
    decay: Float[Tensor, "k d s"],
    write: Float[Tensor, "b k s n"],
    read: Float[Tensor, "b k s n"],
    skip: Float[Tensor, "k d"],
    delta_bias: Float[Tensor, "k d"],
) -> Float[Tensor, "b k d n"]:
    """As `selective_scan` of k groups of channels, in a hundred operations however long the sequence: for export."""
    step = F.softplus(delta + delta_bias[..., None])
    forget = torch.exp(step[..., None] * decay[:, :, None])  # (b, k, d, n, s)
    enter = (step * inputs)[..., None] * write.transpose(2, 3)[:, :, None]
    states = _doubled(forget.movedim(3, 0), enter.movedim(3, 0)).movedim(0, 3)
    return (states * read.transpose(2, 3)[:, :, None]).sum(-1) + skip[..., None] * inputs


def _doubled(forget: Float[Tensor, "n ..."], enter: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """x_t = forget_t x_(t-1) + enter_t along the first axis, from zero; the span that is summed up doubles at a time.

    In chunks of a few places; then the same for what the chunks end in.
    """
    places, rest = len(enter), enter.shape[1:]
    length = min(_CHUNK, places)
    beyond = -places % length
    if beyond:
        forget = torch.cat([forget, torch.ones_like(forget[:beyond])])
        enter = torch.cat([enter, torch.zeros_like(enter[:beyond])])
    kept, states = (tensor.reshape(-1, length, *rest).transpose(0, 1) for tensor in (forget, enter))
    span = 1
    while span < length:
        states = torch.cat([states[:span], states[span:] + kept[span:] * states[:-span]])
        kept = torch.cat([kept[:span], kept[span:] * kept[:-span]])
        span *= 2
    if places > length:
        ended = _doubled(kept[-1], states[-1])
        states = states + kept * torch.cat([torch.zeros_like(ended[:1]), ended[:-1]])
    return states.transpose(0, 1).reshape(-1, *rest)[:places]


def require_backend(backend: ScanBackend) -> None:
    """Refuse a backend whose package is missing.

    Raises:
        ConfigError: It is.
    """
    if backend == "cuda":
        _kernel()


def _kernel() -> Any:  # noqa: ANN401  a function of another package
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError as error:
        raise ConfigError(
            f"detector.scan must be 'torch' without the mamba-ssm package, got 'cuda' ({error}). "
            "Install mamba-ssm beside a CUDA build of torch, or leave detector.scan out."
        ) from None
    return selective_scan_fn


class _Scan(torch.autograd.Function):
    """The scan without D, with a gradient that keeps no states."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, step: Tensor, decay: Tensor, write: Tensor, read: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(inputs, step, decay, write, read)
        return _said(_states(*_coefficients(inputs, step, decay, write)), read)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401
        """The adjoint is a recurrence too, backward: g_t = C_t dy_t + exp(delta_(t+1) A) g_(t+1)."""
        inputs, step, decay, write, read = ctx.saved_tensors
        (outer,) = gradients
        places = outer.shape[-1]
        forget, enter = _coefficients(inputs, step, decay, write)
        states = _states(forget, enter)
        outer, step, inputs, write, read = (
            _chunked(tensor, states.shape[3]) for tensor in (outer, step, inputs, write, read)
        )
        write, read = (tensor.transpose(2, 3)[:, :, None] for tensor in (write, read))  # (t, b, 1, m, s)
        following = torch.cat([forget[1:], forget[:1].roll(-1, dims=3)])
        adjoint = _states(following.flip(0, 3), (outer[..., None] * read).flip(0, 3)).flip(0, 3)
        before = torch.cat([F.pad(states[-1:], (0, 0, 1, 0))[:, :, :, :-1], states[:-1]])
        slope = adjoint * before * forget  # of delta A, which the exponential is taken of
        entered = (adjoint * write).sum(-1)
        found = {
            "inputs": entered * step,
            "step": entered * inputs + (slope * decay[:, None]).sum(-1),
            "write": (adjoint * (step * inputs)[..., None]).sum(2).transpose(2, 3),
            "read": (states * outer[..., None]).sum(2).transpose(2, 3),
        }
        flat = {name: _flat(tensor, places) for name, tensor in found.items()}
        grad_decay = (slope * step[..., None]).sum((0, 1, 3))
        return flat["inputs"], flat["step"], grad_decay, flat["write"], flat["read"]


def _coefficients(
    inputs: Float[Tensor, "b d n"],
    step: Float[Tensor, "b d n"],
    decay: Float[Tensor, "d s"],
    write: Float[Tensor, "b s n"],
) -> tuple[Float[Tensor, "t b d m s"], Float[Tensor, "t b d m s"]]:
    """What is kept of the state and what enters it, place by place within every chunk; beyond the end, all and none."""
    chunks = _chunk_count(inputs, decay.shape[1])
    steps = _chunked(step, chunks)
    forget = torch.exp(steps[..., None] * decay[:, None])
    enter = (steps * _chunked(inputs, chunks))[..., None] * _chunked(write, chunks).transpose(2, 3)[:, :, None]
    return forget, enter


def _chunk_count(inputs: Float[Tensor, "b d n"], state: int) -> int:
    """As many as keep a device busy: few for a CPU that is so already, since what is chunked is gone through twice."""
    batch, channels, places = inputs.shape
    most = max(1, math.isqrt(places))
    if inputs.device.type != "cpu":
        return most
    return min(most, max(1, _BUSY_CPU // (batch * channels * state)))


def _states(forget: Float[Tensor, "t b d m s"], enter: Float[Tensor, "t b d m s"]) -> Float[Tensor, "t b d m s"]:
    """x_t = forget_t x_(t-1) + enter_t along t and then m, from zero; written into `enter`."""
    several = enter.shape[3] > 1
    kept = forget.clone() if several else forget
    for place in range(1, len(enter)):
        enter[place].addcmul_(forget[place], enter[place - 1])
        if several:
            kept[place].mul_(kept[place - 1])
    if not several:
        return enter
    carried = torch.zeros_like(enter[0])
    for chunk in range(1, enter.shape[3]):
        before = carried[:, :, chunk - 1]
        carried[:, :, chunk] = torch.addcmul(enter[-1, :, :, chunk - 1], kept[-1, :, :, chunk - 1], before)
    return enter.addcmul_(kept, carried)


def _said(states: Float[Tensor, "t b d m s"], read: Float[Tensor, "b s n"]) -> Float[Tensor, "b d n"]:
    """<C_t, x_t> at every place."""
    chunks = _chunked(read, states.shape[3]).transpose(2, 3)[:, :, None]
    return _flat((states * chunks).sum(-1), read.shape[-1])


def _chunked(tensor: Float[Tensor, "b c n"], chunks: int) -> Float[Tensor, "t b c m"]:
    """Cut along the places, zeros beyond the end; the place within its chunk comes first."""
    length = -(-tensor.shape[-1] // chunks)
    padded = F.pad(tensor, (0, length * chunks - tensor.shape[-1]))
    return padded.reshape(*padded.shape[:2], chunks, length).movedim(-1, 0)


def _flat(tensor: Float[Tensor, "t b c m"], places: int) -> Float[Tensor, "b c n"]:
    """The reverse."""
    return tensor.movedim(0, -1).flatten(-2)[..., :places]
