"""StableAdamW as the authors of Dinomaly wrote it: AdamW whose step shrinks when a tensor's update is too large.

Differs from `torch.optim.AdamW(amsgrad=True)` in two ways: the AMSGrad maximum is taken before bias correction, and
each tensor's step is divided by max(1, RMS(g / D) / clip_threshold), an idea of AdaFactor.

References:
    Wortsman et al., Stable and low-precision training for large-scale vision-language models, arXiv:2304.13013.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from muad.errors import ConfigError


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
            for name in ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if group["amsgrad"] else ())):
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
        states, gradients = [self.state[p] for p in parameters], [cast("Tensor", p.grad) for p in parameters]
        beta1, beta2 = group["betas"]
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        first = [state["exp_avg"] for state in states]
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        second = [state["exp_avg_sq"] for state in states]
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, value=1 - beta2)
        if group["amsgrad"]:
            largest = [state["max_exp_avg_sq"] for state in states]
            torch._foreach_maximum_(largest, second)
            second = largest
        scale = torch._foreach_sqrt(second)
        torch._foreach_div_(scale, (1 - beta2**step) ** 0.5)
        torch._foreach_add_(scale, group["eps"])
        norms = torch.stack(torch._foreach_norm(torch._foreach_div(gradients, scale)))
        sizes = torch.tensor([p.numel() ** 0.5 for p in parameters], dtype=norms.dtype).to(
            norms.device, non_blocking=True
        )
        damping = (norms / sizes / group["clip_threshold"]).clamp(min=1.0)
        steps = torch._foreach_div(first, scale)
        torch._foreach_mul_(steps, list((group["lr"] / (1 - beta1**step) / damping).unbind()))
        torch._foreach_sub_(parameters, steps)
