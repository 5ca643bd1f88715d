"""How weights move: the optimizer of a run, and the learning rate of every group of weights at every step.

What a detector's groups may say is in `detectors/base.py`, `ParameterGroup`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch.optim import SGD, Adam, AdamW, Optimizer

from muad.optim import StableAdamW, warmup_constant_rate, warmup_cosine_rate

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor
    from torch.nn import Parameter

    from muad.configuration.run_config import OptimConfig, OptimizerKind, RunConfig
    from muad.detectors.base import ParameterGroup, SteppingDetector


def build_optimizer(optim: OptimConfig, detector: SteppingDetector, device: str = "cpu") -> Optimizer:
    """The optimizer over the detector's trainable tensors: of the recipe's kind, or of several if its groups ask so.

    Args:
        optim: Kind and rates.
        detector: Whose groups of tensors it moves.
        device: Kind of the device it will compute on. On a processor torch's own optimizers go through their tensors
            once and not once for every operation, which takes a quarter of the time.
    """
    kinds: dict[OptimizerKind, list[dict[str, Any]]] = {}
    for group in detector.parameter_groups():
        kinds.setdefault(group.get("optimizer", optim.kind), []).append(_as_torch_takes_it(group))
    parts = [_of_kind(kind, groups, optim, fused=device == "cpu" or None) for kind, groups in kinds.items()]
    return parts[0] if len(parts) == 1 else JoinedOptimizer(parts)


def _of_kind(kind: OptimizerKind, groups: list[dict[str, Any]], optim: OptimConfig, *, fused: bool | None) -> Optimizer:
    """An optimizer over some groups; what a group sets itself goes before what the recipe says."""
    if kind == "sgd":
        return SGD(groups, lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay, fused=fused)
    if kind == "stable_adamw":
        return StableAdamW(
            groups,
            lr=optim.lr,
            betas=optim.betas,
            eps=optim.eps,
            weight_decay=optim.weight_decay,
            amsgrad=optim.amsgrad,
            clip_threshold=optim.clip_threshold,
        )
    torchs = Adam if kind == "adam" else AdamW
    return torchs(
        groups,
        lr=optim.lr,
        betas=optim.betas,
        eps=optim.eps,
        weight_decay=optim.weight_decay,
        amsgrad=optim.amsgrad,
        fused=fused,
    )


def _as_torch_takes_it(group: ParameterGroup) -> dict[str, Any]:
    """A group of a detector whose functions stay what they are when torch copies groups: a method brings its object."""
    taken: dict[str, Any] = {**group}
    return {key: _Kept(value) if callable(value) else value for key, value in taken.items()}


class _Kept:
    """A function that is the same function after a deep copy."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401  whatever the function takes and gives
        return self.function(*arguments)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Kept:
        return self


class JoinedOptimizer(Optimizer):
    """Several optimizers that step together and are saved as one.

    Args:
        parts: Each over parameters of its own.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = parts
        self._share()

    def _share(self) -> None:
        """Groups and state are one: what is set or loaded here is what the parts work with."""
        begin = 0
        for part in self.parts:
            end = begin + len(part.param_groups)
            part.param_groups, part.state = self.param_groups[begin:end], self.state
            begin = end

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """A step of each; losses are never computed anew, so there is no closure."""
        if closure is not None:
            raise ValueError("closure must be left out")
        for part in self.parts:
            part.step()
        return None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a state that was saved."""
        super().load_state_dict(state_dict)
        self._share()


def set_learning_rates(config: RunConfig, optimizer: Optimizer, step: int) -> float:
    """Give every group of weights the rate of this step; returns the schedule's own, before factors and swings."""
    schedule, peak = config.schedule, config.optim.lr
    if schedule.kind == "constant":
        rate = warmup_constant_rate(step, warmup_steps=schedule.warmup_steps, peak=peak)
    elif schedule.kind == "drop":
        rate = warmup_constant_rate(step, warmup_steps=schedule.warmup_steps, peak=peak)
        rate = schedule.final_lr if step >= int(schedule.drop_at * schedule.total_steps) else rate
    else:
        rate = warmup_cosine_rate(
            step,
            total_steps=schedule.total_steps,
            warmup_steps=schedule.warmup_steps,
            peak=peak,
            final=schedule.final_lr,
        )
    for group in optimizer.param_groups:
        own = rate * group.get("lr_factor", 1.0)
        group["lr"] = group["rate"](step, own) if "rate" in group else own
    return rate


def may_step(optimizer: Optimizer, norm: Float[Tensor, ""]) -> bool:
    """Whether weights may move by a gradient of that norm: not by one that is not finite.

    An optimizer that keeps its time on the device finds out there, so that nobody waits, and is always called.
    """
    if isinstance(optimizer, StableAdamW) and optimizer.tell_norm(norm):
        return True
    return bool(norm.isfinite())


def resting(optimizer: Optimizer, step: int) -> list[Parameter]:
    """Tensors that this step does not move."""
    groups = [group for group in optimizer.param_groups if "learns" in group and not group["learns"](step)]
    return [parameter for group in groups for parameter in group["params"]]
