"""Score good images the run was not trained on, and set its limits from them: what `muad calibrate` does.

The statistics are in `decisions/conformal.py`, the files in `decisions/limits.py`; docs/calibration.md says what the
numbers mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad._version import __version__
from muad.bundles.bundle import is_bundle, read_manifest_of
from muad.bundles.editing import run_folder, told_of
from muad.calibration.image_scoring import PathGroups, count_once, near_duplicates, score_images
from muad.calibration.object_scoring import ObjectScoring
from muad.capture import has_capture
from muad.capture.learning import learn_capture
from muad.datasets.grouping import MANIFEST_RULE, Placed, grouping_of, is_manifest_rule, place_all
from muad.datasets.tree import ANOMALOUS_NAMES, MASK_FOLDER_NAMES, NORMAL_NAMES
from muad.decisions.calibration_scores import ObjectScored, Scored
from muad.decisions.limit_history import is_edited, text_digest, write_limits
from muad.decisions.limit_sentences import summary
from muad.decisions.limit_setting import (
    CategoryResult,
    limits_in_force,
    limits_text,
    object_limits_in_force,
    results_of,
)
from muad.decisions.limits import LIMITS_FILE, Calibration, read_calibration, read_rates
from muad.decisions.object_limits import read_object_rules
from muad.errors import CheckpointError, DataError
from muad.outputs import find_images
from muad.progress import shows_progress
from muad.recognition import has_products, learn_products
from muad.runs.folder import category_folder, checkpoints, read_run
from muad.runs.images import UNREADABLE, file_digest, read_run_images, remember_calibrated
from muad.runtime.predictor import Predictor
from muad.types import DeviceName

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from muad.acceleration import Acceleration
    from muad.decisions.object_scores import ObjectScore

Places = Mapping[Path, Placed]
Notice = Callable[[str], None]
Progress = Callable[[str, int, int, float | None], None]


def _silent(*_: object) -> None:
    """For callers who want no news."""


@shows_progress
def calibrate(
    run: str | Path,
    good: str | Path | None = None,
    *,
    false_alarm_rate: float | None = None,
    review_rate: float | None = None,
    confidence: float | None = None,
    sure: bool | None = None,
    bad: str | Path | None = None,
    objects: str | None = None,
    object_score: ObjectScore | None = None,
    device: DeviceName = "auto",
    encoder_weights: str | Path | None = None,
    acceleration: Acceleration | None = None,
    batch_size: int = 16,
    cross_fitted: Mapping[str, Scored] | None = None,
    progress: Progress = _silent,
    note: Notice = _silent,
) -> dict[str, CategoryResult]:
    """Set the limits of a run from good images it was not trained on: `RUN/limits.toml`, in force from then on.

    Those of a bundle are written into it, and the former ones into its history.

    The file it replaces is kept in `RUN/limits`, by its date. A file edited by hand is replaced only where rates or
    good images are given; the rates in it count as given by whoever edited them.

    Args:
        run: Run folder or bundle.
        good: Good images in folders named like their category; None for the share the run kept, or the scores stored
            when it was calibrated before, which takes no images and no time.
        false_alarm_rate: Part of good parts that may be rejected; None for the one in force, 0.5 % at first.
        review_rate: Part of good parts that may be reviewed or rejected; None for the one in force, 5 % at first.
        confidence: Of the bounds that are stated; None for the one in force, 95 % at first.
        sure: Keep the rates with that confidence, not only on average; needs more images. None for what is in force,
            on average at first.
        bad: Images of bad parts: the misses are counted, no limit is moved.
        objects: Which photographs show one part and in which view: `folder`, a pattern such as `{object}_{view}`, or a
            manifest; parts then get limits of their own. None for what the data set of the run said, or the rule in
            force.
        object_score: Score of a part that limits count: `mean_top` or `max`; None for the one in force, `mean_top` at
            first.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        encoder_weights: Where the encoder's file lies now, if not where it was at training.
        acceleration: Backend and precision; those of later predictions.
        batch_size: Images per forward pass.
        cross_fitted: By category, scores of training images by detectors that had not seen them (`cross_fitting`).
        progress: Called with what is being done, images done, images in all, and None.
        note: Called with sentences the user should see.

    Returns:
        What was found for each category; `sentences()` says what its limits promise.

    Raises:
        DataError: No images to calibrate on, or some that were trained on or lie in a folder of the other kind.
        ConfigError: A rate is out of range.
        CheckpointError: No usable run there, or it cannot be written.
    """
    run, good, bad = Path(run), None if good is None else Path(good), None if bad is None else Path(bad)
    asked: dict[str, Any] = {
        "false_alarm_rate": false_alarm_rate,
        "review_rate": review_rate,
        "confidence": confidence,
        "sure": sure,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if objects is not None:
        grouping_of(objects)  # a rule that means nothing is told before anything is computed
    with run_folder(run, by="calibrate") as folder:
        told = told_of(run, folder, note)

        def load() -> Predictor:
            return Predictor(run, device=device, encoder_weights=encoder_weights, acceleration=acceleration, note=told)

        weights = read_manifest_of(run).weights if is_bundle(run) else weights_digest(run)
        return _calibrate(
            folder, load, weights, good=good, bad=bad, given=given, rule=objects, object_score=object_score,
            device=device, batch_size=batch_size,
            cross_fitted=cross_fitted, progress=progress, note=told,
        )  # fmt: skip


def _calibrate(
    run: Path,
    load: Callable[[], Predictor],
    weights: str,
    *,
    good: Path | None,
    bad: Path | None,
    given: Mapping[str, Any],
    rule: str | None,
    object_score: ObjectScore | None,
    device: str,
    batch_size: int,
    cross_fitted: Mapping[str, Scored] | None,
    progress: Progress,
    note: Notice,
) -> dict[str, CategoryResult]:
    """The same in a folder with the run's small files."""
    rates, rules = replace(read_rates(run), **given), read_object_rules(run)
    if object_score is not None:
        rules = replace(rules, score=object_score)
    categories = tuple(read_run(run).get("categories", ()))
    before = read_calibration(run)
    written = "" if before is None else before.limits_digest
    if before is not None and before.weights != weights:
        note("the detector was trained further since it was calibrated: its images are scored again")
        before = None
    loaded: list[Predictor] = []

    def score(
        images: Mapping[str, Sequence[Path]], alike: PathGroups, name: str, root: Path, source: str, places: Places
    ) -> tuple[dict[str, Scored], dict[str, ObjectScored]]:
        if not loaded:
            loaded.append(load())
        news = lambda done, total: progress(name, done, total, None)  # noqa: E731
        parts = ObjectScoring(places, images) if places else None
        scored = count_once(
            score_images(loaded[0], images, batch_size, news, note, parts), alike, root, source, note=note
        )
        hashes = {category: one.data_hash for category, one in scored.items()}
        return scored, {} if parts is None else parts.scored(alike, source, hashes, note)

    _learn_missing_capture(run, note)
    found = before or Calibration(muad=__version__, weights=weights, limits_digest=written, rates=rates, good={})
    parts_anew = rule is not None and before is not None and not before.objects
    if good is not None:
        images = _given(good, categories, NORMAL_NAMES)
        _refuse_trained_on(run, images, note)
        wanted = rule or rules.grouping
        places = _places(wanted, images, good, note) if wanted not in ("", MANIFEST_RULE) else {}
        alike = near_duplicates(images, lambda done, total: progress("compare", done, total, None), places)
        scored, parts = score(images, alike, "calibrate", good, str(good.absolute()), places)
        found = replace(found, good={**found.good, **scored}, objects={**found.objects, **parts})
    elif parts_anew or (before is None and (cross_fitted is None or _has_share(run))):
        images, alike, root, places = _own_share(run)
        if rule is not None:
            places = _places(rule, images, root, note)
        scored, parts = score(images, alike, "calibrate", root, f"calibration share of {root}", places)
        found = replace(found, good=scored, objects=parts)
        rules = replace(rules, grouping=rules.grouping or (_own_rule(run) if parts else ""))
    if rule is not None:
        rules = replace(rules, grouping=MANIFEST_RULE if is_manifest_rule(rule) else rule)
    if cross_fitted is not None:
        found = replace(found, cross_fit=dict(cross_fitted))
    if bad is not None:
        images = _given(bad, categories, ANOMALOUS_NAMES)
        found = replace(
            found, bad={**found.bad, **score(images, {}, "score bad images", bad, str(bad.absolute()), {})[0]}
        )
    _learn_missing_products(run, categories, device, note)
    if good is not None:
        remember_calibrated(run, _given(good, categories, NORMAL_NAMES))
    asked_anew = good is not None or cross_fitted is not None or bool(given or rule or object_score)
    stays = before is not None and not asked_anew and rates == before.rates and is_edited(run, before)
    if stays:
        note(f"{LIMITS_FILE} was edited by hand and stays as it is; name a rate to have limits set anew")
    found = replace(found, muad=__version__, rates=rates, object_rules=rules)
    return _write(run, found, categories, note, anew=not stays)


def _places(rule: str, images: Mapping[str, Sequence[Path]], root: Path, note: Notice) -> Places:
    """Part and view of calibration images by a rule.

    Raises:
        ConfigError: There is no such rule.
        DataError: Its manifest cannot be read.
    """
    paths = [path for own in images.values() for path in own]
    places = place_all(rule, paths, root if root.is_dir() else root.parent)
    if not places:
        note(f"no part has limits of its own: {rule!r} fits none of {len(paths)} photographs, such as {paths[0]}")
    return places


def _learn_missing_products(run: Path, categories: Sequence[str], device: str, note: Notice) -> None:
    """What a run trained before products were recognised lacks, if its training images still lie where they were."""
    if not categories or has_products(run):
        return
    try:
        learn_products(run, device=device, note=note)
    except DataError as error:
        note(f"products: none are recognised, because the training images are not there: {error}")


def _learn_missing_capture(run: Path, note: Notice) -> None:
    """The same of a run from before it was checked how photographs are taken."""
    if has_capture(run):
        return
    try:
        learn_capture(run, note=note)
    except DataError as error:
        note(f"capture: light and sharpness are not checked, because the training images are not there: {error}")


def calibrate_trained(run: Path, fabric: Fabric, *, device: str, progress: Progress, note: Notice) -> None:
    """Limits of a run that has just been trained, from the first process, if it kept images for them.

    Those of a run that was trained no further stay as they are: somebody may have set other rates since.
    """
    if not fabric.is_global_zero:
        return
    kept, before = read_run_images(run), read_calibration(run)
    done = before is not None and before.weights == weights_digest(run)
    if not done and kept is not None and kept.calibration_names:
        results = calibrate(run, device=device, progress=progress, note=note)
        for sentence in summary(results, run / LIMITS_FILE, object_limits_in_force(run)):
            note(sentence)


def _write(
    run: Path, calibration: Calibration, categories: Sequence[str], note: Notice, *, anew: bool
) -> dict[str, CategoryResult]:
    """Put limits and scores in force, the limits only if they are to be set anew; returns what is in force."""
    results = results_of(calibration, categories)
    write_limits(run, calibration, limits_text(calibration, results) if anew else None, note)
    return results if anew else limits_in_force(run)


def _own_rule(run: Path) -> str:
    """What said which photographs of the run's data show one part."""
    kept = read_run_images(run)
    rule = "" if kept is None else kept.object_rule
    return MANIFEST_RULE if not rule or is_manifest_rule(rule) else rule


def _has_share(run: Path) -> bool:
    kept = read_run_images(run)
    return kept is not None and bool(kept.calibration_names)


def _own_share(run: Path) -> tuple[dict[str, list[Path]], PathGroups, Path, Places]:
    """The images a run kept for calibration, by category, those that show the same, the folder of its data set, parts.

    Raises:
        DataError: It kept none, or some are no longer there.
    """
    kept = read_run_images(run)
    if kept is None or not kept.calibration_names:
        raise DataError(
            f"run must have kept images for calibration, got {run}, which kept none. Name a folder of good images it "
            "was not trained on, or train with training.calibration_share=0.2."
        )
    images = {category: [kept.base / name for name in names] for category, names in kept.calibration.items() if names}
    changed = [
        path
        for category, paths in images.items()
        for path, digest in zip(paths, kept.calibration[category].values(), strict=True)
        if file_digest(path) != digest
    ]
    if changed:
        raise DataError(
            f"images kept for calibration must be where they were and as they were, got {len(changed)} that are not, "
            f"such as {changed[0]}. Restore them, or name a folder of good images."
        )
    places = {
        kept.base / name: Placed(part=part, view=view)
        for name, (part, view) in kept.objects.items()
        if name in kept.calibration_names
    }
    if kept.alike is None:
        return images, near_duplicates(images), kept.data, places
    alike = {name: [[kept.base / one for one in group] for group in groups] for name, groups in kept.alike.items()}
    return images, alike, kept.data, places


def _given(folder: Path, categories: Sequence[str], fitting: frozenset[str]) -> dict[str, list[Path]]:
    """Images of a folder by category: the innermost folder named like one, or the only one there is.

    Raises:
        DataError: No images, or a folder's name says that they are not what they are given as.
    """
    images: dict[str, list[Path]] = {}
    wrong = (NORMAL_NAMES | ANOMALOUS_NAMES | frozenset(MASK_FOLDER_NAMES)) - fitting
    kind = "good" if fitting is NORMAL_NAMES else "bad"
    for source in find_images([folder]):
        folders = source.path.absolute().parent.parts
        inside = source.path.absolute().relative_to(folder.absolute()).parts[:-1] if folder.is_dir() else ()
        contrary = next((name for name in inside if name.lower() in wrong), None)
        if contrary is not None:
            raise DataError(
                f"{kind} images must not lie in a folder named {contrary!r}, got {source.path}. Name the folder that "
                f"holds the {kind} ones only."
            )
        category = next((name for name in reversed(folders) if name in categories), None)
        if category is None and len(categories) == 1:
            category = categories[0]
        if category is None:
            raise DataError(
                f"images must lie in a folder named like their category, {', '.join(categories)}, got {source.path}. "
                "Move them there: limits are set for each category."
            )
        images.setdefault(category, []).append(source.path)
    return {category: images[category] for category in sorted(images)}


def _refuse_trained_on(run: Path, images: Mapping[str, Sequence[Path]], note: Notice) -> None:
    known = read_run_images(run)
    if known is None:
        note("this run does not remember what it was trained on: make sure that none of these images was among it")
        return
    trained = {digest for digests in known.training.values() for digest in digests.values()} - {UNREADABLE}
    paths = [path for own in images.values() for path in own]
    seen = [path for path in paths if file_digest(path) in trained]
    if seen:
        raise DataError(
            f"calibration images must not have been trained on, got {len(seen)} of {len(paths)} that were, such as "
            f"{seen[0]}: a detector knows them, and limits from them would promise too much. Leave them out."
        )


def weights_digest(run: Path) -> str:
    """Tells whether the detector, or any of a `per_category` run, is still the one it was.

    Raises:
        CheckpointError: Nothing was trained there.
    """
    facts = read_run(run)
    per_category = facts.get("mode") == "per_category"
    folders = [category_folder(run, name) for name in facts["categories"]] if per_category else [run]
    found = [checkpoints(folder)[-1:] for folder in folders]
    if not all(found):
        raise CheckpointError(f"run must hold a checkpoint to be calibrated, got {run} without one. Train it first.")
    return text_digest("".join(file_digest(last.folder / "weights.safetensors") for (last,) in found).encode())
