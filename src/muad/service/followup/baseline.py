"""What later parts are compared with: the scores a model was calibrated with, and the range of good photographs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from muad.bundles.editing import run_folder
from muad.capture import CaptureLimits, read_capture
from muad.capture.limits import Bounds
from muad.decisions.conformal import limit_rank, rate_bound
from muad.decisions.limits import Calibration, read_calibration

_CUT_RATE, _CONFIDENCE = 0.05, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What is known of a product's good parts.

    Scores are compared up to a cut only, and the share above it by itself: bad parts lie above it, and their number is
    no drift. Given the cut, good calibration scores below it and those of later good parts are exchangeable.

    Attributes:
        scores: Of good calibration images that the model itself scored, rising, all below the cut.
        cut: The calibration score that one good part in twenty exceeds, or the largest one; None without calibration.
        above: What share of good parts exceeds the cut at most, with 95 % confidence.
        calibrated: Every calibration score, rising.
        ranges: Between what brightness and sharpness of good photographs lie.
        flagged: Share of good photographs that may lie outside.
    """

    scores: tuple[float, ...] = ()
    cut: float | None = None
    above: float = 0.0
    calibrated: tuple[float, ...] = ()
    ranges: Mapping[str, Bounds] = field(default_factory=dict)
    flagged: float = 0.0


def baseline_of(
    scores: tuple[float, ...], ranges: Mapping[str, Bounds] | None = None, flagged: float = 0.0
) -> Baseline:
    """From scores of good images, rising.

    Args:
        scores: By the model itself; none where limits came from elsewhere.
        ranges: Of good photographs.
        flagged: Share of them that may lie outside.
    """
    ranges = {} if ranges is None else {name: ranges[name] for name in ("brightness", "sharpness") if name in ranges}
    if not scores:
        return Baseline(ranges=ranges, flagged=flagged)
    count = len(scores)
    rank = limit_rank(count, _CUT_RATE) or count
    return Baseline(
        scores=scores[: rank - 1],
        cut=scores[rank - 1],
        above=rate_bound(count, rank, _CONFIDENCE),
        calibrated=scores,
        ranges=ranges,
        flagged=flagged,
    )


def read_baselines(model: Path) -> dict[str, Baseline]:
    """Of every product a model was trained on.

    Args:
        model: Run folder or bundle.

    Raises:
        CheckpointError: It cannot be read.
        ConfigError: One of its small files cannot be used.
    """
    with run_folder(model) as folder:
        calibration, capture = read_calibration(folder), read_capture(folder)
    return baselines_of(calibration, capture)


def baselines_of(calibration: Calibration | None, capture: CaptureLimits | None) -> dict[str, Baseline]:
    """Of every product there is a calibration or a range of photographs of.

    Cross-fitted scores are left out: other detectors gave them.
    """
    pools = {} if calibration is None else calibration.pools
    ranges = {} if capture is None else capture.categories
    flagged = 0.0 if capture is None else capture.rate
    return {
        name: baseline_of(pools[name].own_scores if name in pools else (), ranges.get(name), flagged)
        for name in sorted({*pools, *ranges})
    }


def is_outside(value: float, bounds: Bounds) -> bool:
    """Whether a quantity of a photograph lies outside the range of good ones."""
    low = -math.inf if bounds.at_least is None else bounds.at_least
    high = math.inf if bounds.at_most is None else bounds.at_most
    return not low <= value <= high
