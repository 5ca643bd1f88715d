"""What a run folder says of a run, for `advice` to judge; no photograph is looked at."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from muad.advice.sentences import ProductStanding, RunStanding
from muad.datasets.published import EXPECTED_COUNTS
from muad.decisions.limits import read_calibration, read_limits
from muad.images.tiling import magnification
from muad.metrics.ranking import rank_metrics
from muad.runs.folder import category_folder, read_run
from muad.runs.scores import SCORES_FILE, read_scores
from muad.runs.settings import RunSettings, run_settings

_SMALL_REGION = 2.0  # patches: about what one patch alone leaves in a smoothed map
_LEAST_FOUND = 5  # photographs with regions, for a word on their size
_SMALLEST = 0.2  # the share of defects that are called the smaller ones


def run_standing(run: Path, *, rows: Sequence[Mapping[str, Any]] = ()) -> RunStanding:
    """What a run folder says of a run.

    Args:
        run: Run folder.
        rows: What prediction just gave, as in `results.json`.

    Raises:
        CheckpointError: No usable run there.
        ConfigError: Its limits cannot be read.
        DataError: Its scores cannot be read.
    """
    facts, settings = read_run(run), run_settings(run)
    names = tuple(facts.get("categories", ()))
    limits, calibration = read_limits(run, names), read_calibration(run)
    scores = read_scores(run / SCORES_FILE) if (run / SCORES_FILE).is_file() else ()
    pools = {} if calibration is None else calibration.pools
    products = []
    for name in names:
        own = [row for row in scores if row.category == name]
        bad = sum(row.is_anomalous for row in own)
        both = 0 < bad < len(own)
        stored = pools.get(name)
        judged = limits.categories.get(name) if limits is not None else None
        products.append(
            ProductStanding(
                name=name,
                trained=facts["categories"][name],
                calibrated=0 if stored is None else len(stored.scores),
                cross_fitted=stored is not None and stored.folds > 0,
                has_limits=judged is not None and not (judged.review is None and judged.reject is None),
                good=len(own) - bad,
                bad=bad,
                auroc=rank_metrics([r.is_anomalous for r in own], [r.score for r in own]).auroc if both else None,
            )
        )
    per_product = facts["mode"] == "per_category"
    folders = [category_folder(run, name) for name in names] if per_product else [run]
    curves = [_read_losses(folder / "metrics.jsonl") for folder in folders]
    seconds = [value for _, times in curves for value in times]
    return RunStanding(
        run=run,
        data=facts.get("data"),
        products=tuple(_with_regions(product, rows, settings, facts.get("patch_px")) for product in products),
        rates=None if calibration is None else calibration.rates,
        steps=0 if facts.get("imported_from") else settings.schedule.total_steps,
        losses=tuple(losses for losses, _ in curves),
        seconds_per_step=float(np.median(seconds)) if seconds else None,
        per_product=per_product,
        authors_steps=_authors_steps(settings),
        encoder=settings.encoder,
        view_px=settings.detector.resize_px,
        tiles=settings.images.tiles,
        tile_overlap=settings.images.tile_overlap,
        predicted=sum(row.get("error") is None for row in rows),
        unknown=sum(row.get("verdict") == "unknown product" for row in rows),
    )


def of_bundle(standing: RunStanding, bundle: Path) -> RunStanding:
    """The same of a run that is kept in a bundle, which can be calibrated, and neither trained nor cross-fitted.

    Args:
        standing: Of its small files.
        bundle: Where they come from.
    """
    return dataclasses.replace(standing, run=bundle, steps=0)


def with_defects(
    standing: RunStanding, sizes: Mapping[str, Sequence[float]], photo_px: Mapping[str, tuple[int, int]]
) -> RunStanding:
    """The same with the sizes of defects.

    Args:
        standing: What is known.
        sizes: Areas of the defects of each product, in patches; a product without any is left as it is.
        photo_px: Height and width of the photographs of each product.
    """
    products = tuple(
        dataclasses.replace(
            product,
            small_patches=float(np.quantile(sizes[product.name], _SMALLEST)),
            photo_px=photo_px.get(product.name),
        )
        if len(sizes.get(product.name, ()))
        else product
        for product in standing.products
    )
    return dataclasses.replace(standing, products=products)


def _with_regions(
    product: ProductStanding, rows: Sequence[Mapping[str, Any]], settings: RunSettings, patch_px: int | None
) -> ProductStanding:
    """The product with the size of what was found in photographs that did not pass, if regions were told.

    Older runs do not say how large a patch is; then nothing is said of sizes.
    """
    if patch_px is None:
        return product
    grown = math.prod(magnification(count, settings.images.tile_overlap) for count in settings.images.tiles)
    view = settings.detector.resize_px[0] * settings.detector.resize_px[1]
    sizes, photo_px = [], None
    for row in rows:
        if row.get("category") == product.name and row.get("verdict") in ("review", "reject") and row.get("regions"):
            photo_px = (int(row["height"]), int(row["width"]))
            area = max(region["area_px"] for region in row["regions"])
            sizes.append(area * view * grown / (photo_px[0] * photo_px[1] * patch_px**2) / _SMALL_REGION)
    if len(sizes) < _LEAST_FOUND:
        return product
    return dataclasses.replace(product, small_patches=float(np.median(sizes)), photo_px=photo_px)


def _authors_steps(settings: RunSettings) -> float:
    """Steps that the authors of the method spend on a product of MVTec AD."""
    if settings.encoder is None:
        return float(_steps_of("diffusionad-mvtec"))
    return _steps_of("dinomaly-mvtec") / len(EXPECTED_COUNTS["MVTec AD"].categories)


def _steps_of(recipe: str) -> int:
    """Length of the training of a recipe in the package that writes it down."""
    text = (resources.files("muad") / "recipes" / f"{recipe}.toml").read_text(encoding="utf-8")
    return int(tomllib.loads(text)["schedule"]["total_steps"])


def _read_losses(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Losses and seconds a step from `metrics.jsonl`, without lines that cannot be read, such as a half-written one."""
    losses, seconds = [], []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    except OSError:
        lines = []
    for line in lines:
        try:
            entry = json.loads(line)
            loss, time = float(entry["loss"]), float(entry["seconds_per_step"])
        except (ValueError, KeyError, TypeError):
            continue
        losses.append(loss)
        seconds.append(time)
    return tuple(losses), tuple(seconds)
