"""The report of a run as one file: gathered, drawn, written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad.advice.defect_sizes import masked_defects
from muad.advice.sentences import RunStanding, advise
from muad.advice.standing import of_bundle, run_standing, with_defects
from muad.bench import BenchMissingError
from muad.bundles.bundle import is_bundle
from muad.bundles.editing import run_folder
from muad.datasets.content_hash import content_hash, relative_name
from muad.datasets.index import open_catalog
from muad.errors import ConfigError, DataError, MuadError
from muad.evaluation.published_figures import published_figures
from muad.images.reading import read_pair
from muad.metrics.report import METRIC_NAMES
from muad.progress import shows_progress
from muad.reporting.content import CategoryContent, Counts, RunContent, read_content
from muad.reporting.page import render, split_command, write_page
from muad.reporting.parts import read_parts
from muad.reporting.pictures import finding_pair
from muad.reporting.plots import category_plot
from muad.runtime.predictor import Predictor
from muad.types import DeviceName

if TYPE_CHECKING:
    from muad.runs.scores import ImageScore
    from muad.types import Catalog, Record

Progress = Callable[[str, int, int, float | None], None]
REPORT_FILE = "report.html"
_CASES = 3  # of each kind and category shown as pictures
_PICTURED = 12  # categories with pictures; of more, those that separate worst
_FACTS = (
    *("created", "recipe", "imported_from", "data", "data_hash", "calibration", "mode", "seed"),
    *("precision", "device", "muad", "git", "python", "versions"),
)
_HEADINGS = ("image AUROC", "image AP", "image F1-max", "pixel AUROC", "pixel AP", "pixel F1-max", "pixel AUPRO")


@shows_progress
def report(
    run: str | Path,
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    device: DeviceName = "auto",
    encoder_weights: str | Path | None = None,
    progress: Progress = lambda *_: None,
) -> Path:
    """Write the report of a run as one HTML file and return its path.

    Everything but the pictures comes from the run folder; for them the photographs are needed, and a few are predicted
    again. Whatever is not there is left out, and the page says so.

    Args:
        run: Run folder or bundle; evaluate it first.
        out: The file; None for `RUN/report.html`, and of `bolts.muad` for `bolts.report.html` beside it.
        data: Where the evaluated photographs are now; None for where they were.
        device: `auto`, `cpu`, `cuda` or `cuda:N`, for the pictures.
        encoder_weights: Where the encoder's file lies now, if not where it was at training.
        progress: Called with what is being done, how much is done, how much there is, and None.

    Raises:
        CheckpointError: No usable run there.
        DataError: `data` is no data set, or the page cannot be written.
        ConfigError: The limits cannot be read, or no such device.
    """
    run_dir = Path(run)
    if data is not None:
        open_catalog(Path(data), for_training=False)  # named by the user, so it must be there, shown or not
    with run_folder(run_dir) as folder:
        found = read_content(folder)
        parts = read_parts(folder, found.figures)
        content = replace(
            found, run=run_dir, missing=tuple(one.replace(str(folder), str(run_dir)) for one in found.missing)
        )
        catalog, problems = _open_photographs(content, data)
        cases: dict[str, dict[str, Any]] = {}
        if catalog is not None:
            cases, flaws = _draw_cases(content, catalog, device, encoder_weights, progress)
            problems += flaws
        missing = (*content.missing, *problems)
        standing = _standing(content, catalog, folder)
        next_steps = advise(standing if folder == run_dir else of_bundle(standing, run_dir))
    plots = {}
    for done, category in enumerate(content.categories, start=1):
        if category.scores:
            review, reject = (category.limits.review, category.limits.reject) if category.limits else (None, None)
            plots[category.name] = category_plot(category.labels, category.values, review, reject)
        progress("plots", done, len(content.categories), None)
    beside = run_dir.with_suffix(f".{REPORT_FILE}") if is_bundle(run_dir) else run_dir / REPORT_FILE
    target = beside if out is None else Path(out)
    write_page(render("report.html", _values(content, cases, plots, missing, next_steps) | {"parts": parts}), target)
    return target


def _values(
    content: RunContent,
    cases: dict[str, dict[str, Any]],
    plots: dict[str, str],
    missing: Sequence[str],
    next_steps: Sequence[str],
) -> dict[str, Any]:
    """What the template shows."""
    tested = [row for category in content.categories for row in category.scores]
    settings, facts = content.settings, content.facts
    return {
        "name": content.run.absolute().name,
        "content": content,
        "categories": content.categories,
        "trained": sum(category.trained or 0 for category in content.categories),
        "tested": len(tested),
        "tested_bad": sum(row.is_anomalous for row in tested),
        "good": _sum(category.good for category in content.categories),
        "bad": _sum(category.bad for category in content.categories),
        "unjudged": [category.name for category in content.categories if category.scores and not category.is_judged],
        "next_steps": [split_command(sentence) for sentence in next_steps],
        "levels": {
            level: [category.name for category in content.categories if category.level == level]
            for level in ("yes", "partly", "no", "unknown")
        },
        "metrics": list(zip(METRIC_NAMES, _HEADINGS, strict=True)),
        "published": None
        if content.figures is None
        else published_figures(
            settings.published, content.figures.categories, facts.get("recipe"), facts.get("changed_settings")
        ),
        "plots": plots,
        "cases": cases,
        "missing": missing,
        "facts": dict.fromkeys(_FACTS) | facts,
        "encoder": _encoder(settings.encoder, facts),
        "detector": settings.detector.name,
        "image_px": settings.looked_at_px,
        "steps": settings.schedule.total_steps,
        "settings": content.settings_text,
    }


def _encoder(name: str | None, facts: dict[str, Any]) -> dict[str, Any] | None:
    """Whose frozen weights, as the run recorded it; of one that did not, the name alone; None without an encoder."""
    if name is None:
        return None
    return {"name": name, "licence": None, "source": None, "fingerprint": None, **facts.get("encoder", {})}


def _sum(counts: Iterable[Counts | None]) -> Counts | None:
    """Those of the categories with limits together; None if there are no images of such."""
    known = [count for count in counts if count is not None]
    if not sum(count.total for count in known):
        return None
    return Counts(
        total=sum(count.total for count in known),
        rejected=sum(count.rejected for count in known),
        review=sum(count.review for count in known),
        passed=sum(count.passed for count in known),
    )


def _open_photographs(content: RunContent, data: str | Path | None) -> tuple[Catalog | None, list[str]]:
    """The evaluated photographs, if they are still there, and a sentence if not.

    Raises:
        DataError: `data` is no data set.
        ConfigError: The layout they were evaluated in is not known.
    """
    if content.figures is None or not any(category.scores for category in content.categories):
        return None, []
    place = data or content.figures.data
    if place is None:
        return None, ["Where the photographs are was not recorded: no pictures. Name their folder with --data."]
    try:
        return open_catalog(Path(place), content.figures.layout or "auto", for_training=False), []
    except DataError as error:
        if data is not None:
            raise
        return None, [f"The photographs could not be shown: {error}"]


def _standing(content: RunContent, catalog: Catalog | None, folder: Path) -> RunStanding:
    """Where the run stands, sizes of the tested defects included where there are masks."""
    standing = run_standing(folder)
    patch_px = content.facts.get("patch_px")
    if catalog is None or patch_px is None:  # older runs do not say how large a patch is
        return standing
    views = content.settings.views()
    tested = {row.path for category in content.categories for row in category.scores}
    sizes: dict[str, list[float]] = {}
    photo_px: dict[str, tuple[int, int]] = {}
    for name in catalog.categories:
        records = [record for record in catalog.select(category=name)
                   if relative_name(record.path, catalog.root) in tested]  # fmt: skip
        areas, usual = masked_defects(records, views, patch_px)
        sizes[name] = areas.tolist()
        if usual is not None:
            photo_px[name] = usual
    return with_defects(standing, sizes, photo_px)


def _draw_cases(
    content: RunContent,
    catalog: Catalog,
    device: str,
    encoder_weights: str | Path | None,
    progress: Progress,
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The hardest images of each category as pictures, and sentences on what is missing of them."""
    try:
        predictor = Predictor(content.run, device=device, encoder_weights=encoder_weights)
    except BenchMissingError as error:
        return {}, [f"The photographs could not be shown: {error}"]
    except ConfigError:
        raise
    except MuadError as error:
        return {}, [f"The photographs could not be shown: {error}"]
    records = {relative_name(record.path, catalog.root): record for record in catalog.records}
    chosen = _hardest(content.categories)
    cases: dict[str, dict[str, Any]] = {}
    for done, category in enumerate(chosen, start=1):
        kinds = {"misses": _extreme(category, anomalous=True), "alarms": _extreme(category, anomalous=False)}
        cases[category.name] = {
            kind: [_case(row, records.get(row.path), category, predictor) for row in rows]
            for kind, rows in kinds.items()
        }
        progress("pictures", done, len(chosen), None)
    return cases, list(_flaws(content, records, catalog.root, len(chosen)))


def _flaws(content: RunContent, records: Mapping[str, Record], root: Path, pictured: int) -> Iterator[str]:
    """What a reader of the pictures should know."""
    rows = [row for category in content.categories for row in category.scores]
    expected = content.figures.data_hash if content.figures is not None else None
    found = content_hash([records[row.path] for row in rows if row.path in records], root)
    if expected not in (None, found):
        yield "The photographs are not those that were evaluated (their hash differs): pictures may not fit."
    if pictured < len({row.category for row in rows}):
        yield f"Pictures are of the {pictured} products that separate worst."


def _hardest(categories: Sequence[CategoryContent]) -> list[CategoryContent]:
    """Categories to show pictures of, those that separate worst first if there are too many."""
    scored = [category for category in categories if category.scores]
    if len(scored) <= _PICTURED:
        return scored

    def auroc(category: CategoryContent) -> float:
        known = category.figures.image_auroc if category.figures is not None else None
        return 1.0 if known is None else known

    return sorted(scored, key=lambda category: (auroc(category), category.name))[:_PICTURED]


def _extreme(category: CategoryContent, *, anomalous: bool) -> list[ImageScore]:
    """The defective images with the lowest scores, or the good ones with the highest."""
    rows = [row for row in category.scores if row.is_anomalous is anomalous]
    sign = 1 if anomalous else -1
    return sorted(rows, key=lambda row: (sign * row.score, row.path))[:_CASES]


def _case(row: ImageScore, record: Record | None, category: CategoryContent, predictor: Predictor) -> dict[str, Any]:
    """One image as the template shows it; without pictures where the file is gone or damaged."""
    verdict = predictor.limits.verdict(row.category, row.score) if predictor.limits is not None else None
    shown: dict[str, Any] = {
        "path": row.path, "kind": row.defect_type, "score": row.score, "verdict": verdict, "pair": None,
    }  # fmt: skip
    if record is None:
        return shown
    try:
        _, mask = read_pair(record)
        (found,) = predictor.predict(record.path, category=category.name if category.trained is not None else None)
    except (DataError, ConfigError):
        return shown
    if found.image is not None and found.anomaly_map is not None:
        shown["pair"] = finding_pair(found.image, mask, found.anomaly_map, predictor.colour_scale(row.category))
    return shown
