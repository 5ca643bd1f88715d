"""Does the promised false-alarm rate hold? Scores of real good images, split many times into calibration and test.

`python benchmarks/calibration.py RUN DATA [docs/images/calibration.webp] [--splits 10000]` prints the tables
of docs/calibration-proof.md. RUN kept a share for calibration; its scores and those of the good test images are pooled.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import betabinom

from muad.datasets.index import open_catalog
from muad.decisions.conformal import binomial_interval, limit_rank, p_values
from muad.decisions.limits import read_calibration
from muad.images.reading import read_image
from muad.runtime.predictor import Predictor
from muad.types import Record

RATES = (0.05, 0.1, 0.2)
CONFIDENCE = 0.95
DRAWN_RATE = 0.1  # of the picture
LIGHTS, LIGHT_RATE = (1.0, 0.9, 0.8, 1.1), 0.1


def simulate(pool: np.ndarray, count: int, rate: float, splits: int, seed: int = 1) -> np.ndarray:
    """Images above the limit among those not calibrated on, for each of many random splits of a pool of scores."""
    rank = limit_rank(count, rate)
    if rank is None:
        raise ValueError(f"{count} images give no limit at {rate}")
    random = np.random.default_rng(seed)
    above = np.empty(splits, np.int64)
    for number in range(splits):
        drawn = random.permutation(pool)
        limit = np.partition(drawn[:count], rank - 1)[rank - 1]
        above[number] = (drawn[count:] > limit).sum()
    return above


def promised(count: int, tested: int, rate: float) -> betabinom:
    """Distribution of the images above the limit among the tested ones, if no scores are equal (else there are fewer).

    The long-run rate is a Beta variable, and what is seen of it in a finite test a binomial one.
    """
    rank = limit_rank(count, rate) or count
    return betabinom(tested, count + 1 - rank, rank)


def split_rows(pools: Mapping[str, np.ndarray], splits: int) -> list[str]:
    """Rows of the table of random splits."""
    rows = []
    for category, pool in pools.items():
        count = len(pool) // 2
        tested = len(pool) - count
        for rate in RATES:
            if limit_rank(count, rate) is None:
                continue
            above, expected = simulate(pool, count, rate, splits), promised(count, tested, rate)
            most = int(expected.ppf(CONFIDENCE))
            found, within = above.mean() / tested, (above <= most).mean()
            rows.append(
                f"| {category} | {count} + {tested} | {100 * rate:g} % | {100 * expected.mean() / tested:.2f} % | "
                f"{100 * found:.2f} % | {most} of {tested} | {100 * expected.cdf(most):.1f} % | {100 * within:.1f} % |"
            )
    return rows


def shift_rows(kept: Mapping[str, np.ndarray], test: Mapping[str, np.ndarray]) -> list[str]:
    """Rows of the table of good test images against limits from the share that was kept."""
    rows = []
    for category, scores in test.items():
        values = p_values(scores, kept[category])
        for rate in RATES:
            if limit_rank(len(kept[category]), rate) is None:
                continue
            above = int((values <= rate + 1e-12).sum())
            low, high = binomial_interval(above, len(values), CONFIDENCE)
            rows.append(
                f"| {category} | {len(kept[category])} | {100 * rate:g} % | {above} of {len(values)} "
                f"| {100 * low:.1f} to {100 * high:.1f} % | {np.median(values):.2f} |"
            )
    return rows


def scores_under(predictor: Predictor, records: Sequence[Record], light: float) -> dict[str, np.ndarray]:
    """Scores by category of images whose values are multiplied by `light`."""
    found: dict[str, list[float]] = {}
    for category in sorted({record.category for record in records}):
        own = (record.path for record in records if record.category == category)
        images = (np.clip(np.rint(read_image(path) * light), 0, 255).astype(np.uint8) for path in own)
        predictions = predictor.stream(images, category=category)
        found[category] = [one.score for one in predictions if one.score is not None]
    return {category: np.array(scores) for category, scores in found.items()}


def draw(pools: Mapping[str, np.ndarray], splits: int, picture: Path) -> None:
    """One panel per category: what was found beside what is promised."""
    from matplotlib.figure import Figure

    columns = min(4, len(pools))
    rows = -(-len(pools) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (category, pool) in zip(panels, pools.items(), strict=False):
        count = len(pool) // 2
        tested = len(pool) - count
        above, expected = simulate(pool, count, DRAWN_RATE, splits), promised(count, tested, DRAWN_RATE)
        numbers = np.arange(max(int(above.max()), int(expected.ppf(0.999))) + 1)
        panel.bar(
            100 * numbers / tested, np.bincount(above, minlength=len(numbers)) / splits, 70 / tested, color="0.75"
        )
        panel.plot(100 * numbers / tested, expected.pmf(numbers), "o-", color="C0", markersize=2.5, linewidth=1)
        panel.axvline(100 * DRAWN_RATE, color="C3", linewidth=1)
        panel.set_title(f"{category}, {count} + {tested} images", fontsize=9)
        panel.tick_params(labelsize=8)
    for panel in panels[len(pools) :]:
        panel.axis("off")
    figure.supxlabel("good test images above the limit, %", fontsize=9)
    figure.supylabel("share of splits", fontsize=9)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)


def main() -> None:
    """Score, split, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--splits", type=int, default=10_000)
    parser.add_argument("picture", type=Path, nargs="?")
    arguments = parser.parse_args()
    stored = read_calibration(arguments.run)
    if stored is None:
        parser.error(f"{arguments.run} must be calibrated; train it with training.calibration_share")
    kept = {name: np.array(scored.scores) for name, scored in stored.good.items()}
    predictor = Predictor(arguments.run)
    catalog = open_catalog(arguments.data, for_training=False)
    good = [record for record in catalog.select(split="test") if not record.is_anomalous]
    lights = {1.0: scores_under(predictor, good, 1.0)}
    test = {category: lights[1.0][category] for category in kept}
    pools = {category: np.concatenate([kept[category], test[category]]) for category in kept}
    print("| category | calibration + test | rate | promised, average | found, average | bound | promised | found |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(split_rows(pools, arguments.splits)))
    print("\n| category | calibrated on | rate | good test images above | interval | median p-value |")
    print("|---|---|---|---|---|---|")
    print("\n".join(shift_rows(kept, test)), flush=True)
    if arguments.picture is not None:
        draw(pools, arguments.splits, arguments.picture)
    lights |= {light: scores_under(predictor, good, light) for light in LIGHTS if light != 1.0}
    print(f"\n| category | {' | '.join(f'light {light:g}' for light in LIGHTS)} |")
    print("|---" * (1 + len(LIGHTS)) + "|")
    for category, scores in kept.items():
        shares = [(p_values(lights[light][category], scores) <= LIGHT_RATE + 1e-12).mean() for light in LIGHTS]
        print(f"| {category} | {' | '.join(f'{100 * share:.0f} %' for share in shares)} |")


if __name__ == "__main__":
    main()
