"""Does the promised false-alarm rate hold with 10 to 1,000 good photographs, from a kept share and cross-fitted?

`python benchmarks/cross_fitting.py simulate` draws numbers for photographs and fits small detectors to them.
`python benchmarks/cross_fitting.py photographs DATA CATEGORY [...]` takes good photographs of a data set, a random part
of them at a time, and the memory of patches of the bundled encoder as the detector: what is remembered of every
photograph is chosen on its own, so that any part of them can be remembered, and left out, without encoding anew.

Both set limits with the code that `muad calibrate` sets them with, and print a table of docs/calibration-proof.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from muad.calibration.share import groups_to_keep
from muad.datasets.alike import alike_groups
from muad.datasets.index import open_catalog
from muad.decisions.calibration_scores import Scored
from muad.decisions.limit_setting import CategoryResult, Limit, results_of
from muad.decisions.limits import Calibration, Rates
from muad.detectors import PatchCore, PatchCoreConfig

COUNTS = (10, 48, 120, 200, 1000)
FOLDS, SHARE = 5, 0.2
Fit = Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]
"""From indices of photographs to a detector that scores others by their indices."""


class Trial(NamedTuple):
    """What one draw of photographs gave by one way to calibrate: the limits, and how many new ones are above them."""

    way: str
    result: CategoryResult
    above: dict[str, float]


def scored(scores: np.ndarray, folds: int = 0) -> Scored:
    """Scores as `calibration.json` has them."""
    rising = tuple(np.sort(scores).tolist())
    return Scored(scores=rising, map_peaks=rising, images=len(rising), data_hash="", source="", created="", folds=folds)


def limits_of(kept_out: np.ndarray, crossed: np.ndarray | None = None, folds: int = FOLDS) -> CategoryResult:
    """Limits at the usual rates."""
    good = {"it": scored(kept_out)} if len(kept_out) else {}
    cross = {} if crossed is None else {"it": scored(crossed, folds)}
    stored = Calibration(muad="", weights="", limits_digest="", rates=Rates(), good=good, cross_fit=cross)
    return results_of(stored, ["it"])["it"]


def trials(fit: Fit, drawn: np.ndarray, new: np.ndarray) -> Iterator[Trial]:
    """A share kept, and K folds of the rest beside it: limits of the same detector, tried on new photographs."""
    kept, trained = np.split(drawn, [groups_to_keep(len(drawn), SHARE)])
    deployed = fit(trained)
    scores = deployed(new)
    kept_out = deployed(kept)
    yield trial("share", limits_of(kept_out), scores)
    folds = np.array_split(trained, min(FOLDS, len(trained)))
    crossed = np.concatenate([fit(np.setdiff1d(trained, fold, assume_unique=True))(fold) for fold in folds])
    yield trial("share and folds", limits_of(kept_out, crossed), scores)


def leave_one_out(fit: Fit, own: Callable[[np.ndarray], np.ndarray], drawn: np.ndarray, new: np.ndarray) -> Trial:
    """All are remembered, each scored without itself; what that promises is proven for such a memory, see the docs."""
    return trial("memory, each left out", limits_of(own(drawn)), fit(drawn)(new))


def trial(way: str, result: CategoryResult, new: np.ndarray) -> Trial:
    """Count the new photographs above the limits."""
    limits = {"review": result.review.value, "reject": result.reject.value}
    return Trial(
        way, result, {name: float((new > value).mean()) for name, value in limits.items() if value is not None}
    )


def rows(name: str, count: int, found: Sequence[Trial]) -> Iterator[str]:
    """Lines of the table, one for each way and limit."""
    for way in dict.fromkeys(one.way for one in found):
        own = [one for one in found if one.way == way]
        for limit in ("review", "reject"):
            having = [one for one in own if limit in one.above]
            if not having:
                continue
            shares = np.array([one.above[limit] for one in having])
            error = shares.std() / len(shares) ** 0.5
            promises: list[Limit] = [getattr(one.result, limit) for one in having]
            carried = np.mean([promise.carried for promise in promises])
            proven = [promise.proven for promise in promises]
            shown = "nothing" if None in proven else f"{100 * np.mean(proven):.2f} %"
            refused = np.mean([one.result.refuted for one in having])
            counted = round(float(np.mean([one.result.count for one in having])))
            yield (
                f"| {name} | {count} | {way} | {counted} | {limit} | {100 * carried:.2f} % "
                f"| {100 * shares.mean():.2f} ± {100 * error:.2f} % | {shown} | {100 * refused:.0f} % |"
            )


HEAD = (
    "| photographs | good | calibrated with | counted | limit | promised | found | proven alone | not used |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


# --- numbers instead of photographs


def numbers(count: int, random: np.random.Generator, mixing: np.ndarray) -> np.ndarray:
    """Vectors near a plane, with heavy tails."""
    return random.normal(size=(count, len(mixing))) @ mixing + 0.5 * random.standard_t(5, (count, mixing.shape[1]))


def reconstructing(data: np.ndarray, restless: float, random: np.random.Generator) -> Fit:
    """A detector that is trained: distance to the plane of its training vectors, in units that differ by training."""

    def fit(trained: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        mean = data[trained].mean(0)
        parts = np.linalg.svd(data[trained] - mean, full_matrices=False)[2][: min(5, len(trained) - 1)]
        unit = np.exp(restless * random.normal())

        def score(indices: np.ndarray) -> np.ndarray:
            centred = data[indices] - mean
            return unit * np.linalg.norm(centred - centred @ parts.T @ parts, axis=1)

        return score

    return fit


def simulate(counts: Sequence[int], draws: int, seed: int) -> Iterator[str]:
    """Rows for a steady detector, and for one whose scores differ by 20 % in scale from training to training."""
    for restless, name in ((0.0, "simulated, steady"), (0.2, "simulated, restless")):
        for count in counts:
            random = np.random.default_rng([seed, count])
            mixing = random.normal(size=(5, 30))
            found = []
            for _ in range(max(60, draws * 48 // max(count, 48))):
                data = numbers(count + 2000, random, mixing)
                order = np.arange(len(data))
                found += trials(reconstructing(data, restless, random), order[:count], order[count:])
            yield from rows(name, count, found)


# --- real photographs, and a memory of their patches


class PatchMemory:
    """How far every patch of every photograph is from the nearest one of every other.

    Args:
        patches: Of unit length times the root of the layer groups, as `PatchCore.patches` gives them.
        top: Patches whose mean distance is the score.
    """

    def __init__(self, patches: torch.Tensor, top: int) -> None:
        count, places, width = patches.shape
        self.top = top
        flat = patches.reshape(count * places, width)
        self.nearest = np.empty((count, count, places), np.float16)
        squared = float(patches[0, 0].square().sum())
        for image in range(count):
            like = (patches[image] @ flat.T).reshape(places, count, places).amax(2)  # (places, count)
            self.nearest[image] = (2 * (squared - like)).clamp(min=0).sqrt().T.numpy()

    def fit(self, remembered: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """A detector that remembers these photographs."""
        return lambda indices: np.array([self._score(self.nearest[index, remembered]) for index in indices])

    def own(self, remembered: np.ndarray) -> np.ndarray:
        """The score of each remembered photograph without itself."""
        return np.array([self._score(self.nearest[index, remembered[remembered != index]]) for index in remembered])

    def _score(self, distances: np.ndarray) -> float:
        each = distances.min(0)
        return float(np.partition(each, -self.top)[-self.top :].astype(np.float64).mean())


def read_patches(paths: Sequence[Path], image_px: int) -> torch.Tensor:
    """Patches of photographs, of the bundled encoder."""
    side = (image_px, image_px)
    describer = PatchCore(PatchCoreConfig(resize_px=side, crop_px=side))
    found = []
    for begin in range(0, len(paths), 8):
        views = [describer.preprocessing.views(describer.preprocessing.read(path)) for path in paths[begin : begin + 8]]
        images = torch.from_numpy(describer.preprocessing.normalise(np.concatenate(views)))
        found.append(describer.patches(describer.encode(images)))
    return torch.cat(found)


def photographs(
    data: Path, category: str, image_px: int, counts: Sequence[int], draws: int, seed: int
) -> Iterator[str]:
    """Rows for good photographs, training and test together, one of each group of near-duplicates."""
    catalog = open_catalog(data, for_training=False)
    good = [record for record in catalog.select(category=category) if not record.is_anomalous]
    different = [group[0].path for group in alike_groups(good)[category]]
    memory = PatchMemory(read_patches(different, image_px), top=max(1, image_px // 56))
    random = np.random.default_rng(seed)
    for count in counts:
        if count > 0.8 * len(different):
            continue
        found: list[Trial] = []
        for _ in range(draws):
            order = random.permutation(len(different))
            drawn, new = order[:count], order[count:][:400]
            found += trials(memory.fit, drawn, new)
            found.append(leave_one_out(memory.fit, memory.own, drawn, new))
        yield from rows(f"{category} ({len(different)})", count, found)


def main() -> None:
    """Draw, calibrate, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--image-px", type=int, default=112)
    parser.add_argument("what", choices=("simulate", "photographs"))
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("categories", nargs="*")
    arguments = parser.parse_args()
    print(HEAD)
    if arguments.what == "simulate":
        for row in simulate(arguments.counts, arguments.draws, arguments.seed):
            print(row, flush=True)
        return
    if arguments.data is None or not arguments.categories:
        parser.error("photographs needs a data set and categories")
    for category in arguments.categories:
        for row in photographs(
            arguments.data, category, arguments.image_px, arguments.counts, arguments.draws, arguments.seed
        ):
            print(row, flush=True)


if __name__ == "__main__":
    main()
