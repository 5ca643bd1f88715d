"""Golden samples of a bundle: what its networks gave when it was approved, and how far a runtime is from that here."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from muad.bundles.archive import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jaxtyping import Float, UInt8

    from muad.bundles.bundle import Bundle
    from muad.bundles.manifest import GoldenFacts, GoldenLimits, Precision
    from muad.runtime.views import Scorer


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSample:
    """Views of one photograph.

    Attributes:
        facts: Whose they are.
        pixels: As preprocessing made them.
        maps: What the run's own network gave, in float32.
        scores: The same.
    """

    facts: GoldenFacts
    pixels: UInt8[np.ndarray, "v H W 3"]
    maps: Float[np.ndarray, "v h w"]
    scores: Float[np.ndarray, " v"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A runtime on golden samples.

    Attributes:
        samples: How many.
        map_deviation: Largest difference of a map's value.
        score_deviation: Largest difference of a score.
        ms_per_view: Median time for one view, alone.
    """

    samples: int
    map_deviation: float
    score_deviation: float
    ms_per_view: float

    def within(self, limits: GoldenLimits | None) -> bool:
        """Whether the approved figures hold; where nobody said how far it may be off, they are not known not to."""
        return limits is None or (self.map_deviation <= limits.map and self.score_deviation <= limits.score)


def golden_samples(bundle: Bundle, network: str) -> list[GoldenSample]:
    """Those of a network.

    Raises:
        BundleError: One is not what it must be.
    """
    facts = bundle.manifest.networks[network]
    found = []
    for sample in bundle.manifest.golden:
        if sample.network != network:
            continue
        try:
            arrays = safetensors.numpy.load(bundle.read(sample.member))
            pixels, maps, scores = (arrays[name] for name in ("pixels", "maps", "scores"))
        except (SafetensorError, KeyError, ValueError) as error:
            raise BundleError(f"golden samples must be readable, got {sample.member} ({error}).") from None
        fits = pixels.dtype == np.uint8 and pixels.shape == (len(pixels), *facts.input_px, 3) and len(pixels)
        if not fits or maps.shape != (len(pixels), *facts.map_px) or scores.shape != (len(pixels),):
            raise BundleError(f"golden samples must be views with maps and scores, got others in {sample.member}.")
        found.append(GoldenSample(facts=sample, pixels=pixels, maps=maps, scores=scores))
    return found


def measure(scorer: Scorer, samples: Sequence[GoldenSample], rounds: int = 3) -> Measured:
    """How far a scorer is off, and how long a view takes after the first.

    Args:
        scorer: Of the network that the samples are of.
        samples: At least one.
        rounds: How often each is timed.
    """
    maps, scores, seconds = [0.0], [0.0], []
    for sample in samples:
        found = scorer.score_views(sample.pixels, [sample.facts.category] * len(sample.pixels))
        maps.append(_largest(found.maps, sample.maps))
        scores.append(_largest(found.scores, sample.scores))
    for _ in range(rounds):
        for sample in samples:
            begin = time.perf_counter()
            scorer.score_views(sample.pixels[:1], [sample.facts.category])
            seconds.append(time.perf_counter() - begin)
    return Measured(
        samples=len(samples),
        map_deviation=max(maps),
        score_deviation=max(scores),
        ms_per_view=1000 * median(seconds) if seconds else 0.0,
    )


def require_golden(
    scorer: Scorer, bundle: Bundle, network: str, precision: Precision, note: Callable[[str], None]
) -> None:
    """Have a network say one golden view before it judges anything: whether it gives maps and scores, and these.

    Args:
        scorer: Of the network.
        bundle: Where it is from.
        network: Its name there.
        precision: In which it computes.
        note: Called with a sentence where its figures are not those approved.

    Raises:
        BundleError: It gives something else than its manifest says.
    """
    for sample in golden_samples(bundle, network)[:1]:
        one = dataclasses.replace(sample, pixels=sample.pixels[:1], maps=sample.maps[:1], scores=sample.scores[:1])
        found = measure(scorer, [one], rounds=0)
        if not found.within(bundle.manifest.limits_of(precision)):
            note(
                f"the network is off by {found.map_deviation:.1e} in its map and {found.score_deviation:.1e} in its "
                f"score of a golden sample, more than was approved; see: muad check-bundle {bundle.path}"
            )


def merged(parts: Iterable[Measured]) -> Measured:
    """Several networks of one bundle together: the largest deviations, the longest time."""
    own = list(parts)
    return Measured(
        samples=sum(part.samples for part in own),
        map_deviation=max(part.map_deviation for part in own),
        score_deviation=max(part.score_deviation for part in own),
        ms_per_view=max(part.ms_per_view for part in own),
    )


def _largest(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference; infinite where it is none."""
    difference = float(np.abs(found.astype(np.float64) - expected).max())
    return difference if np.isfinite(difference) else float("inf")
