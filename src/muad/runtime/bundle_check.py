"""Whether the figures a bundle was approved with hold on this machine: every runtime here on its golden samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from muad.bundles.bundle import open_bundle
from muad.bundles.manifest import GoldenLimits
from muad.errors import DataError
from muad.runtime.choice import Outcome, attempt, choices
from muad.runtime.computing import Acceleration
from muad.runtime.golden import merged
from muad.runtime.source import whole_preprocessing
from muad.types import DeviceName


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCheck:
    """What was found.

    Attributes:
        bundle: The file.
        muad: Release that wrote it.
        samples: Golden samples in it.
        limits: How far a runtime may be off in float32; None where nobody said.
        lower_limits: The same in lower precisions.
        outcomes: Every way to compute it here, the fastest that holds first.
    """

    bundle: Path
    muad: str
    samples: int
    limits: GoldenLimits | None
    lower_limits: Mapping[str, GoldenLimits]
    outcomes: tuple[Outcome, ...]

    @property
    def holds(self) -> bool:
        """Whether the approved figures hold by the way that prediction takes."""
        return self.is_within(self.outcomes[0])

    def is_within(self, outcome: Outcome) -> bool:
        """Whether they hold by one way."""
        return outcome.measured is not None and outcome.measured.within(self.limits_of(outcome))

    def limits_of(self, outcome: Outcome) -> GoldenLimits | None:
        """How far off one way may be."""
        return self.lower_limits.get(outcome.choice.precision, self.limits)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "bundle": str(self.bundle),
            "muad": self.muad,
            "samples": self.samples,
            "limits": None if self.limits is None else asdict(self.limits),
            "lower_limits": {precision: asdict(own) for precision, own in self.lower_limits.items()},
            "holds": self.holds,
            "runtimes": [
                {
                    "backend": one.choice.backend,
                    "precision": one.choice.precision,
                    "holds": self.is_within(one),
                    "fault": one.fault,
                    **({} if one.measured is None else asdict(one.measured)),
                }
                for one in self.outcomes
            ],
        }


def check_bundle(
    path: str | Path,
    *,
    device: DeviceName = "auto",
    acceleration: Acceleration | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> BundleCheck:
    """Measure a bundle on this machine.

    Args:
        path: The bundle.
        device: Where to compute.
        acceleration: Backend and precision to measure; None for all there are here.
        progress: Called with networks measured and in all.

    Raises:
        CheckpointError: It is no bundle that can be used.
        ConfigError: Nothing here computes it.
        DataError: It has no golden samples.
    """
    bundle = open_bundle(Path(path))
    try:
        names = list(dict.fromkeys(sample.network for sample in bundle.manifest.golden))
        if not names:
            raise DataError(f"bundle must hold golden samples to be checked, got {path} without any. Export it again.")
        preprocessing, found = whole_preprocessing(bundle), choices(bundle, acceleration, device)
        outcomes: list[Outcome] = []
        total = len(found) * len(names)
        for choice in found:
            parts = []
            for name in names:
                parts.append(attempt(bundle, name, choice, device, preprocessing, most=len(bundle.manifest.golden)))
                progress(len(outcomes) * len(names) + len(parts), total)
            fault = next((part.fault for part in parts if part.fault), None)
            measured = [part.measured for part in parts if part.measured is not None]
            outcomes.append(Outcome(choice=choice, measured=None if fault else merged(measured), fault=fault))
    finally:
        bundle.close()
    check = BundleCheck(
        bundle=Path(path),
        muad=bundle.manifest.muad,
        samples=len(bundle.manifest.golden),
        limits=bundle.manifest.golden_limits,
        lower_limits={str(precision): own for precision, own in bundle.manifest.lower_limits.items()},
        outcomes=tuple(outcomes),
    )

    def order(one: Outcome) -> tuple[bool, float]:
        return not check.is_within(one), float("inf") if one.measured is None else one.measured.ms_per_view

    return replace(check, outcomes=tuple(sorted(outcomes, key=order)))
