"""The check in order: read every image once, describe the good ones, then ask one question after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from muad.checking.cost import estimate_cost
from muad.checking.defects import defects_in_patches, small_defects
from muad.checking.depth import check_depth
from muad.checking.findings import MEANINGS, CategoryFacts, DataCheck, Finding, by_cause
from muad.checking.outliers import long_parts, odd_exposure, odd_sizes
from muad.checking.reading import Seen, look_at
from muad.checking.repeats import find_repeats
from muad.checking.suspicion import Describer, suspicious
from muad.configuration.run_config import RunConfig, load_config
from muad.datasets.content_hash import content_hash
from muad.datasets.holdout import moved_records
from muad.datasets.index import open_catalog
from muad.device import choose_device
from muad.encoders.encoder import EncoderConfig
from muad.images.loading import read_ahead
from muad.images.preprocessing import Preprocessing
from muad.progress import shows_progress
from muad.training.choose import choose_config
from muad.training.images import settle_categories
from muad.types import DeviceName

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from muad.types import Catalog, Record

Progress = Callable[[str, int, int, float | None], None]
MOST_DESCRIBED = 2000
"""Good images of a category that are compared with each other; of more, evenly spread ones."""
_BATCH_SIZE = 16


@shows_progress
def check_data(
    data: str | Path,
    *,
    layout: str = "auto",
    recipe: str | Path | None = None,
    device: DeviceName = "auto",
    progress: Progress = lambda *_: None,
) -> DataCheck:
    """What is wrong with a data set: its files, repeats, labels, pictures, sizes; and what training on it would cost.

    Args:
        data: Data set of any layout muad reads.
        layout: How it lies on disk; `auto` recognises it.
        recipe: Settings of the training to come (a run's `config.toml` is one too), for size of defects and cost; None
            for those that `train` would choose.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        progress: Called with what is being done, images done, images in all, and None.

    Raises:
        DataError: No data set there.
        ConfigError: Unknown layout, recipe or device.
    """
    chosen = choose_device(device)
    catalog = open_catalog(Path(data), layout, for_training=False)
    config = load_config(recipe) if recipe is not None else choose_config(catalog, chosen, {})
    detector, patch_px = config.detector, config.patch_px
    views = config.images.applied_to(Preprocessing(resize_px=detector.resize_px, crop_px=detector.crop_px))
    likenesses: dict[tuple[int, int], float] = {}
    looked, unlike = _look(catalog, Describer(chosen), likenesses, progress)
    readable = [seen for seen in looked if seen.error is None]
    findings = [
        Finding(kind="unreadable", category=seen.record.category, images=(seen.record.path,), text=seen.error)
        for seen in looked
        if seen.error is not None
    ]
    unmeasured, measured = check_depth(catalog, lambda done, total: progress("depth", done, total, None))
    findings += unmeasured
    progress("compare", 0, len(readable), None)
    repeats, _, moved = find_repeats(readable, likenesses)
    catalog = replace(catalog, records=tuple(moved_records(catalog.records, moved)))
    findings += repeats
    facts = []
    for name in catalog.categories:
        own = [seen for seen in readable if seen.record.category == name]
        odd, limits = unlike[name]
        sizes = defects_in_patches(own, views, patch_px)
        findings += by_cause([*odd_exposure([seen for seen in own if not seen.record.is_anomalous]), *odd])
        findings += odd_sizes(own, views)
        if own:
            usual = Counter(seen.size for seen in own).most_common(1)[0][0]
            findings += [*small_defects(name, sizes, views, usual), *long_parts(name, usual, views)]
        facts.append(_facts(name, catalog, own, sizes, limits))
    progress("compare", len(readable), len(readable), None)
    train = catalog.select(split="train")
    kinds = list(MEANINGS)
    return DataCheck(
        data=Path(data),
        layout=catalog.layout,
        data_hash=content_hash(catalog.records, catalog.root),
        categories=tuple(facts),
        findings=tuple(sorted(findings, key=lambda finding: (kinds.index(finding.kind), finding.category))),
        cost=estimate_cost(settle_categories(config, train), len(train), chosen) if train else None,
        notes=(*catalog.notes, *measured, *_notes(catalog, config)),
    )


def _look(
    catalog: Catalog, describer: Describer, likenesses: dict[tuple[int, int], float], progress: Progress
) -> tuple[list[Seen], dict[str, tuple[list[Finding], tuple[float, float] | None]]]:
    """Every image as it was seen, and by category which good ones are unlike the others, with the limits.

    One category after the other, so that features of one only are in memory.
    """
    described = _described(catalog)
    looked: list[Seen] = []
    unlike = {}
    for name in catalog.categories:
        good: list[Seen] = []
        features: list[Float[Tensor, "b p d"]] = []
        views: list[np.ndarray] = []
        records = catalog.select(category=name)
        work = [(record, describer.preprocessing if record in described else None) for record in records]
        for seen, view in read_ahead(lambda item: look_at(*item), work):
            looked.append(seen)
            if view is not None:
                good.append(seen)
                views.append(view)
            if len(views) == _BATCH_SIZE:
                features.append(describer.describe(views))
                views.clear()
            progress("look", len(looked), len(catalog.records), None)
        if views:
            features.append(describer.describe(views))
        groups = find_repeats(good, likenesses)[1]
        unlike[name] = suspicious(good, torch.cat(features), groups, describer.grid) if good else ([], None)
    return looked, unlike


def _described(catalog: Catalog) -> set[Record]:
    """Good images to describe: all, or evenly spread ones of very many."""
    chosen: set[Record] = set()
    for name in catalog.categories:
        good = [record for record in catalog.select(category=name) if not record.is_anomalous]
        chosen.update(good[:: -(-len(good) // MOST_DESCRIBED) or 1])
    return chosen


def _facts(
    name: str,
    catalog: Catalog,
    own: Sequence[Seen],
    defects: Float[np.ndarray, " defects"],
    limits: tuple[float, float] | None,
) -> CategoryFacts:
    records = catalog.select(category=name)
    test = [record for record in records if record.split == "test"]
    bad = sum(record.is_anomalous for record in test)
    heights, widths = [seen.size[0] for seen in own], [seen.size[1] for seen in own]
    return CategoryFacts(
        name=name,
        train=sum(record.split == "train" for record in records),
        test_good=len(test) - bad,
        test_bad=bad,
        smallest_px=(min(heights), min(widths)) if own else None,
        largest_px=(max(heights), max(widths)) if own else None,
        defects=len(defects),
        median_patches=float(np.median(defects)) if len(defects) else None,
        smallest_patches=float(defects.min()) if len(defects) else None,
        suspicion_limits=limits,
    )


def _notes(catalog: Catalog, config: RunConfig) -> list[str]:
    notes = []
    for name in catalog.categories:
        good = sum(not record.is_anomalous for record in catalog.select(category=name))
        if good > MOST_DESCRIBED:
            notes.append(f"{name}: of {good} good images every {-(-good // MOST_DESCRIBED)}th was compared.")
    height, width = config.detector.resize_px
    name = config.encoder_name or EncoderConfig().name
    notes.append(f"Defects are measured for images of {height} x {width} px and encoder {name}.")
    return notes
