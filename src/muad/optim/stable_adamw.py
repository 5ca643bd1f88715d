"""StableAdamW as the authors of Dinomaly wrote it: AdamW whose step shrinks when a tensor's update is too large.

Differs from `torch.optim.AdamW(amsgrad=True)` in two ways: the AMSGrad maximum is taken before bias correction, and
each tensor's step is divided by max(1, RMS(g / D) / clip_threshold), an idea of AdaFactor.

References:
    Wortsman et al., Stable and low-precision training for large-scale vision-language models, arXiv:2304.13013.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


_MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")


class StableAdamW(Optimizer):
    """AdamW with per-tensor update clipping.

    Args:
        params: Tensors, or dictionaries with `params` and settings of their own.
        lr: Learning rate.
        betas: Decay of the first and second moment.
        eps: Added to the denominator.
        weight_decay: Decoupled weight decay.
        amsgrad: Divide by the largest second moment seen.
        clip_threshold: RMS of the scaled gradient above which a tensor's step is damped.
        foreach: Update all tensors of a group by one operation at a time; None for: on a graphics card, where every
            operation has a price, and not on a processor, where it gains nothing.

    Raises:
        ConfigError: A setting is out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        clip_threshold: float = 1.0,
        foreach: bool | None = None,
    ) -> None:
        for name, value in {"lr": lr, "eps": eps, "weight_decay": weight_decay}.items():
            if value < 0:
                raise ConfigError(f"optim.{name} must be at least 0, got {value}.")
        if not all(0 <= beta < 1 for beta in betas):
            raise ConfigError(f"optim.betas must lie in [0, 1), got {betas}.")
        if clip_threshold <= 0:
            raise ConfigError(f"optim.clip_threshold must be above 0, got {clip_threshold}.")
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "clip_threshold": clip_threshold,
        }
        super().__init__(params, defaults)
        self._foreach = foreach
        self._clock: Clock | None = None

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every tensor that has a gradient; all arithmetic stays on the tensor's device."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._clock is not None:
            self._clock.steps.add_(1 if self._clock.finite is None else self._clock.finite)
            for place, group in enumerate(self.param_groups):
                self._update_by_clock(group, place, self._clock)
            return loss
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            steps = {self._begin(parameter, group) for parameter in parameters}
            together = all(p.is_cuda for p in parameters) if self._foreach is None else self._foreach
            if together and len(steps) == 1:
                self._update_together(parameters, group, steps.pop())
            else:
                for parameter in parameters:
                    self._update(parameter, group)
        return loss

    def _begin(self, parameter: Tensor, group: dict[str, Any]) -> int:
        """Count the step of a tensor, the first of which makes its moments."""
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            for name in _MOMENTS if group["amsgrad"] else _MOMENTS[:2]:
                state[name] = torch.zeros_like(parameter)
        state["step"] += 1
        return int(state["step"])

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], cast("Tensor", parameter.grad)
        beta1, beta2 = group["betas"]
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        first = state["exp_avg"].lerp_(gradient, 1 - beta1)
        second = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        if group["amsgrad"]:
            second = torch.maximum(state["max_exp_avg_sq"], second, out=state["max_exp_avg_sq"])
        scale = second.sqrt().div_((1 - beta2 ** state["step"]) ** 0.5).add_(group["eps"])
        # The damping stays a tensor: turning it into a float would make a GPU wait once per parameter.
        root_mean_square = (gradient / scale).norm().div_(parameter.numel() ** 0.5)
        damping = root_mean_square.div_(group["clip_threshold"]).clamp_(min=1.0)
        rate = group["lr"] / (1 - beta1 ** state["step"])
        parameter.sub_(first.div(scale).mul_(rate / damping))

    def _update_together(self, parameters: list[Tensor], group: dict[str, Any], step: int) -> None:
        """The same as `_update` of each, line by line."""
        beta1, beta2 = group["betas"]
        sizes = _sizes(parameters)
        rate = group["lr"]
        _move(self._moments(parameters), _constants(group), sizes, rate, 1 - beta1**step, (1 - beta2**step) ** 0.5)

    def _update_by_clock(self, group: dict[str, Any], place: int, clock: Clock) -> None:
        """The same with what changes from step to step in tensors."""
        beta1, beta2 = group["betas"]
        steps = clock.steps if clock.finite is None else clock.steps.clamp(min=1)  # none was taken if all were skipped
        first, second = 1 - beta1**steps, (1 - beta2**steps).sqrt()
        moments, rate = self._moments(group["params"]), clock.rates[place]
        sizes, finite = clock.sizes[place], clock.finite
        clock.move(moments, _constants(group), sizes, rate, first.float(), second.float(), finite)

    def _moments(self, parameters: list[Tensor]) -> list[tuple[Tensor, ...]]:
        """Of each tensor: itself, its gradient, its moments."""
        kept = [self.state[parameter] for parameter in parameters]
        names = [name for name in _MOMENTS if name in kept[0]]
        return [
            (parameter, cast("Tensor", parameter.grad), *(state[name] for name in names))
            for parameter, state in zip(parameters, kept, strict=True)
        ]

    # -------------------------------------------------------------------------------------- nothing on the host

    def keep_time_on_device(self, *, compiled: bool = False, skipping: bool = False) -> None:
        """From now on a step reads its number and rates from tensors, so that it can be recorded and replayed.

        Every tensor must have a gradient in every step, and all must have taken as many steps.

        Args:
            compiled: Turn the arithmetic into a few large kernels at the first step.
            skipping: A step whose gradient is not finite, as told by `tell_norm`, changes nothing.
        """
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        steps = {self._begin(parameter, group) for group in self.param_groups for parameter in group["params"]}
        (done,) = {step - 1 for step in steps}
        for parameter in parameters:
            self.state[parameter]["step"] = done
        device = parameters[0].device
        self._clock = Clock(
            steps=torch.tensor(float(done), dtype=torch.float64, device=device),
            rates=[torch.zeros((), device=device) for _ in self.param_groups],
            sizes=[_sizes(group["params"]) for group in self.param_groups],
            move=torch.compile(_move, dynamic=False) if compiled else _move,
            finite=torch.ones((), dtype=torch.bool, device=device) if skipping else None,
        )

    def tell_norm(self, norm: Float[Tensor, ""]) -> bool:
        """Whether `step` itself leaves out one whose gradient has a norm that is not finite: on the device it does."""
        if self._clock is None or self._clock.finite is None:
            return False
        self._clock.finite.copy_(norm.isfinite())
        return True

    def tell_rates(self) -> None:
        """Give the device the groups' rates for the next step; nobody waits."""
        for group, rate in zip(self.param_groups, self._clock.rates if self._clock is not None else [], strict=True):
            rate.fill_(group["lr"])

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps; the number of steps is asked of the device if it is kept there."""
        if self._clock is not None:
            done = int(self._clock.steps)
            for state in self.state.values():
                state["step"] = done
        return super().state_dict()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """What an optimizer reads on the device.

    Attributes:
        steps: Steps taken.
        rates: Learning rate of each group.
        sizes: Of each group, the root of every tensor's number of values.
        move: The arithmetic.
        finite: Whether the gradient of the step is; None where that is not asked.
    """

    steps: Float[Tensor, ""]
    rates: list[Float[Tensor, ""]]
    sizes: list[Float[Tensor, " n"]]
    move: Callable[..., None]
    finite: Bool[Tensor, ""] | None


def _move(
    moments: list[tuple[Tensor, ...]],
    constants: tuple[tuple[float, float], float, float, float],
    sizes: Float[Tensor, " n"],
    rate: float | Float[Tensor, ""],
    first_correction: float | Float[Tensor, ""],
    second_correction: float | Float[Tensor, ""],
    finite: Bool[Tensor, ""] | None = None,
) -> None:
    """One step of all tensors of a group at once: each line an operation on all of them.

    Without a finite gradient it is a step of rate 0 towards where the moments are, by one of 0: nothing changes.
    """
    parameters, gradients, first, second, *largest = (list(each) for each in zip(*moments, strict=True))
    (beta1, beta2), eps, weight_decay, clip_threshold = constants
    towards: list[Tensor] = gradients
    decay: float | Tensor = beta2
    if finite is not None:
        towards = [torch.where(finite, each, moment) for each, moment in zip(gradients, first, strict=True)]
        gradients = [torch.where(finite, each, 0) for each in gradients]
        rate, decay = torch.where(finite, rate, 0), torch.where(finite, beta2, 1)
    torch._foreach_mul_(parameters, 1 - rate * weight_decay)
    torch._foreach_lerp_(first, towards, 1 - beta1)
    torch._foreach_mul_(second, decay)
    torch._foreach_addcmul_(second, gradients, gradients, value=1 - beta2)
    if largest:
        torch._foreach_maximum_(largest[0], second)
        second = largest[0]
    scale = torch._foreach_sqrt(second)
    torch._foreach_div_(scale, second_correction)
    torch._foreach_add_(scale, eps)
    norms = torch.stack(torch._foreach_norm(torch._foreach_div(gradients, scale)))
    damping = (norms / sizes.to(norms.dtype) / clip_threshold).clamp(min=1.0)
    steps = torch._foreach_div(first, scale)
    torch._foreach_mul_(steps, list((rate / first_correction / damping).unbind()))
    torch._foreach_sub_(parameters, steps)


def _constants(group: dict[str, Any]) -> tuple[tuple[float, float], float, float, float]:
    """What stays the same over a run; not the group itself, whose rate a compiled step must not look at."""
    return group["betas"], group["eps"], group["weight_decay"], group["clip_threshold"]


def _sizes(parameters: list[Tensor]) -> Float[Tensor, " n"]:
    """The root of every tensor's number of values, on their device."""
    roots = torch.tensor([parameter.numel() ** 0.5 for parameter in parameters], dtype=torch.float64)
    return roots.to(parameters[0].device, non_blocking=True)
