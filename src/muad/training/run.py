"""The verb `train`: from a data set to a run folder, with everything that is learned along the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad.advice.few_shots import expectations
from muad.calibration.calibrate import calibrate_trained
from muad.calibration.split import run_records
from muad.capture import has_capture
from muad.capture.learning import learn_capture
from muad.checkpoints.checkpoint import create_run, read_config
from muad.configuration.recipe_changes import changed_settings, flat_values
from muad.configuration.run_config import (
    RunConfig,
    config_to_dict,
    load_config,
    override,
    parse_config,
    plain_values,
)
from muad.datasets.content_hash import content_hash
from muad.datasets.grouping import with_places
from muad.datasets.index import open_catalog
from muad.detectors import DiffusionAdConfig
from muad.device import choose_device
from muad.errors import CheckpointError, ConfigError, DataError
from muad.images.roi import copy_masks
from muad.progress import shows_progress
from muad.recognition import has_products, learn_products
from muad.runs.folder import ROI_FOLDER, category_folders, read_run, usable_folder
from muad.training import train_detector
from muad.training.choose import adapt_config, describe_choice
from muad.training.engine import launch, resolve_precision
from muad.training.estimate import Estimate
from muad.training.failed_start import nothing_left_of_a_failed_start
from muad.training.images import settle_categories, settle_images
from muad.training.loggers import require_loggers
from muad.training.map_scale import map_scale
from muad.training.reproducibility import describe_detector, environment
from muad.training.resolution import photo_size, sized_for
from muad.types import DeviceName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_fabric import Fabric

    from muad.types import Catalog, Record

Progress = Callable[[str, int, int, float | None], None]
Notice = Callable[[str], None]
# What a resumed run may be given anew: none of it changes what is computed from the images that can be read, and a
# moved encoder file is known by its fingerprint.
_MAY_CHANGE = {
    "detector.encoder.weights",
    "training.image_cache_mib",
    "training.skip_bad",
    "training.tensorboard",
    "training.mlflow",
    "training.wandb",
}

# What `run.json` says of a detector once it is trained.
_MADE = ("preprocessing", "encoder", "encoders", "map_scale")


def _silent(*_: object) -> None:
    """For callers who want no news."""


@shows_progress
def train(
    data: str | Path,
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    overrides: Iterable[str] = (),
    layout: str = "auto",
    device: DeviceName = "auto",
    devices: int = 1,
    nodes: int = 1,
    resume: bool = False,
    smallest_defect: str | None = None,
    field_of_view: str | None = None,
    objects: str | None = None,
    progress: Progress = _silent,
    note: Notice = _silent,
) -> RunConfig:
    """Train one detector for all categories of a data set (or, in `per_category` mode, one each).

    Args:
        data: Data set of any layout muad reads; only its good training images are used.
        out: Run folder to write.
        recipe: Name or TOML file; without one, settings are chosen for the data and the device, and noted.
        overrides: `section.key=value` settings on top.
        layout: How the data lie on disk; `auto` recognises them.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        devices: Processes per node.
        nodes: Number of nodes.
        resume: Continue the run in `out`, with the settings it was started with.
        smallest_defect: Width of the smallest defect that must be found, `0.5mm` or in pixels of the photographs
            `12px`; the input size, or tiles, are chosen for it. None to leave them.
        field_of_view: Width of what a photograph shows, for a defect given as a length.
        objects: Which photographs show one part and in which view, where the data set does not say: `folder`, a pattern
            such as `{object}_{view}`, or a manifest. Parts stay whole, and get limits of their own.
        progress: Called with what is being trained, steps done, steps in all, and the mean loss when known.
        note: Called with sentences the user should see.

    Returns:
        The configuration of the run.

    Raises:
        DataError: No usable training images.
        ConfigError: A setting is out of range.
        CheckpointError: `out` already holds a run, or cannot be written.
        KeyboardInterrupt: Ctrl-C; what was done is saved and `resume=True` continues exactly there.
    """
    run_dir = usable_folder(Path(out))
    catalog = open_catalog(Path(data), layout)
    if objects is not None:
        base = catalog.root if catalog.root.is_dir() else catalog.root.parent
        catalog = dataclasses.replace(catalog, records=tuple(with_places(catalog.records, objects, base)))
    sentences = list(catalog.notes)
    records = catalog.select(split="train")
    if not records:
        raise DataError(f"data must hold good training images, got none in {data}. Name the folder that holds them.")
    settings = tuple(overrides)
    if smallest_defect is None and field_of_view is not None:
        raise ConfigError(f"field of view must be left out without a smallest defect, got {field_of_view!r}.")
    if smallest_defect is not None:
        usual = (
            load_config(recipe, settings)
            if recipe is not None
            else adapt_config(catalog, choose_device(device), settings)
        )
        sized = sized_for(usual, photo_size(records), smallest_defect, field_of_view)
        settings, sentences = (*settings, *sized.settings), [*sentences, sized.sentence]
    config = _run_config(run_dir, catalog, recipe, settings, device, resume, sentences.append)
    require_loggers(config.training)
    if not config.training.shots:
        config = settle_categories(settle_images(config, records, sentences.append), records)
    per_category = config.training.mode == "per_category"
    folders = category_folders(run_dir, _count(records)) if per_category else {}
    fabric = launch(config.training.precision, device=device, devices=devices, nodes=nodes)
    if fabric.is_global_zero:  # only now is it known which of several processes this is
        for sentence in sentences:
            note(sentence)
        progress = Estimate(progress, note)
    else:
        progress = _silent
    with nothing_left_of_a_failed_start(run_dir, active=fabric.is_global_zero):
        records, kept = run_records(
            config,
            catalog,
            run_dir,
            fabric,
            resumed=_holds_work(run_dir),
            progress=progress,
            note=note,
            object_rule=objects or "",
        )
        known = (*records, *kept) if config.training.shots else catalog.select(split="train")
        if config.training.shots:  # nothing is asked of those set aside
            config = settle_categories(settle_images(config, known, note if fabric.is_global_zero else _silent), known)
        expected = expectations(_count([*records, *kept]))
        if expected is not None and fabric.is_global_zero:
            note(expected)
        facts = {
            "mode": config.training.mode,
            "categories": _count(records),
            "calibration": _count(kept),  # kept out of training
            "data": str(Path(data).absolute()),
            "layout": catalog.layout,
            "data_hash": content_hash(records, catalog.root),
            "recipe": None if recipe is None else str(recipe),
            "changed_settings": changed_settings(config, recipe),
            "patch_px": config.patch_px,
            "seed": config.training.seed,
            "shots": config.training.shots or None,
            "shots_seed": config.training.shots_seed if config.training.shots else None,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "processes": fabric.world_size,
            "precision": resolve_precision(config.training.precision, device),
            **environment(fabric.device),
        }
        if per_category:
            _train_each(config, catalog, records, run_dir, folders, fabric, facts, progress, note)
        else:
            _train_one(config, records, run_dir, fabric, facts, progress, note)
    _learn_products(run_dir, known, fabric, note)
    _learn_capture(run_dir, known, fabric, note)
    calibrate_trained(run_dir, fabric, device=device, progress=progress, note=note)
    return config


def _run_config(
    run_dir: Path,
    catalog: Catalog,
    recipe: str | Path | None,
    overrides: tuple[str, ...],
    device: str,
    resume: bool,
    note: Notice,
) -> RunConfig:
    """The configuration of a new run, or that of the run to resume."""
    if (run_dir / "run.json").is_file() and (resume or _holds_work(run_dir)):
        if not resume:
            raise CheckpointError(
                f"run folder must be new, got {run_dir}, which holds a run. Continue it with --resume, or name another."
            )
        config = read_config(run_dir)
        if recipe is not None or overrides:
            values = config_to_dict(config) if recipe is None else config_to_dict(load_config(recipe))
            wanted = _absolute_paths(parse_config(override(values, overrides)))
            _require_same(config, _settled_as(config, wanted))
            return wanted
        return config
    if recipe is not None:
        return _absolute_paths(load_config(recipe, overrides))
    config = _absolute_paths(adapt_config(catalog, choose_device(device), overrides))
    note(describe_choice(config, catalog, choose_device(device)))
    return config


def _settled_as(config: RunConfig, wanted: RunConfig) -> RunConfig:
    """What is wanted, with what was found in the data when the run began."""
    if wanted.images.value_range is None:
        images = dataclasses.replace(wanted.images, value_range=config.images.value_range)
        wanted = dataclasses.replace(wanted, images=images)
    known, detector = config.detector, wanted.detector
    if isinstance(known, DiffusionAdConfig) and isinstance(detector, DiffusionAdConfig) and not detector.categories:
        same = detector.conditioning == known.conditioning
        detector = dataclasses.replace(detector, categories=known.categories if same else ())
        wanted = dataclasses.replace(wanted, detector=detector)
    return wanted


def _require_same(config: RunConfig, wanted: RunConfig) -> None:
    """Refuse to resume a run with settings that change its result, naming the first that differs."""
    before, after = (dict(flat_values(config_to_dict(values))) for values in (config, wanted))
    for key in sorted((before.keys() | after.keys()) - _MAY_CHANGE):
        if before.get(key) != after.get(key):
            raise ConfigError(
                f"{key} must stay {before.get(key)} to resume this run, got {after.get(key)}. "
                "Leave it out, or start a new run."
            )


def _absolute_paths(config: RunConfig) -> RunConfig:
    """The same configuration, readable from any working directory."""
    values = dataclasses.asdict(config)
    absolute = _with_absolute(values)
    # As a recipe, which knows no unset values.
    return config if absolute == values else parse_config(plain_values(absolute))


def _with_absolute(value: Any) -> Any:  # noqa: ANN401  whatever a configuration holds
    if isinstance(value, dict):
        return {key: _with_absolute(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_with_absolute(entry) for entry in value)
    return value.absolute() if isinstance(value, Path) else value


def _naming(category: str, progress: Progress) -> Progress:
    """The same progress, saying which category it is of."""
    return lambda what, done, total, loss: progress(f"{what} {category}", done, total, loss)


def _train_one(
    config: RunConfig,
    records: Sequence[Record],
    run_dir: Path,
    fabric: Fabric,
    facts: dict[str, Any],
    progress: Progress,
    note: Notice,
) -> dict[str, Any]:
    """Train one detector into its folder; returns what is known of it only now, the scale of its maps included."""
    begun = _start(run_dir, config, facts, fabric)
    if "finished" in begun:
        return {name: begun[name] for name in _MADE if name in begun}
    detector = train_detector(config, records, run_dir, fabric, progress=progress, note=note)
    scale = map_scale(detector, records) if fabric.is_global_zero else (0.0, 1.0)
    made = {**describe_detector(detector, config.encoders), "map_scale": scale}
    _finish(run_dir, config, begun, made, fabric)
    return made


def _train_each(
    config: RunConfig,
    catalog: Catalog,
    records: Sequence[Record],
    run_dir: Path,
    folders: Mapping[str, Path],
    fabric: Fabric,
    facts: dict[str, Any],
    progress: Progress,
    note: Notice,
) -> None:
    """Train a detector for each category into its folder, under a run that stands for them all."""
    begun = _start(run_dir, config, facts, fabric)
    if "finished" in begun:
        return
    parts = []
    for name, folder in folders.items():
        chosen = [record for record in records if record.category == name]
        kept = {name: facts["calibration"].get(name, 0)}
        own = {**facts, "mode": "multi_class", "categories": _count(chosen), "calibration": kept}
        own["data_hash"] = content_hash(chosen, catalog.root)
        parts.append(_train_one(config, chosen, folder, fabric, own, _naming(name, progress), note))
    lows, highs = zip(*(part["map_scale"] for part in parts), strict=True)
    # All of them see images alike and read the same encoder, so the first one tells how.
    _finish(run_dir, config, begun, {**parts[0], "map_scale": (max(lows), max(highs))}, fabric)


def _start(run_dir: Path, config: RunConfig, facts: dict[str, Any], fabric: Fabric) -> dict[str, Any]:
    """Write what the run is before it begins; of one that is being resumed, return what was written.

    Raises:
        DataError: The run was started on other images, so that it could not go on as it began.
    """
    before = read_run(run_dir) if _holds_work(run_dir) else facts
    fabric.barrier()  # every process has looked before the first one writes
    if before["categories"] != facts["categories"]:
        raise DataError(
            f"data must be what {run_dir} was started on, {before['categories']}, got {facts['categories']}. "
            "Restore them, or start a new run."
        )
    if fabric.is_global_zero and before is facts:
        if config.images.roi_dir is not None:
            copy_masks(config.images.roi_dir, run_dir / ROI_FOLDER)
        create_run(run_dir, config, facts)
    fabric.barrier()
    return before


def _holds_work(run_dir: Path) -> bool:
    """Whether anything was trained there; a run that failed before its first checkpoint may simply be started again."""
    return any(run_dir.glob("checkpoints/*/state.json")) or any(run_dir.glob("categories/*/checkpoints/*/state.json"))


def _finish(run_dir: Path, config: RunConfig, facts: dict[str, Any], made: dict[str, Any], fabric: Fabric) -> None:
    if fabric.is_global_zero:
        create_run(run_dir, config, {**facts, "finished": True, **made})
    fabric.barrier()


def _learn_products(run_dir: Path, records: Sequence[Record], fabric: Fabric, note: Notice) -> None:
    """Learn to recognise the categories, unless that was done before the run was resumed."""
    # The encoder that recognises has seen none of the images, so those kept for calibration may be remembered too.
    if fabric.is_global_zero and not has_products(run_dir):
        learn_products(run_dir, records, device=str(fabric.device), note=note)
    fabric.barrier()


def _learn_capture(run_dir: Path, records: Sequence[Record], fabric: Fabric, note: Notice) -> None:
    """Learn how photographs are taken, unless that was done before the run was resumed."""
    if fabric.is_global_zero and not has_capture(run_dir):
        learn_capture(run_dir, records, note=note)
    fabric.barrier()


def _count(records: Sequence[Record]) -> dict[str, int]:
    """Images per category, categories sorted."""
    names = sorted({record.category for record in records})
    return {name: sum(record.category == name for record in records) for name in names}
