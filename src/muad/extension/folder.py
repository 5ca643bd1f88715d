"""The new run's folder: filled beside its place under another name, and renamed when it is whole.

The run that is extended is only read. A call that was interrupted is gone on with by one of the same images and
settings; any other begins anew.

    OUT.partial/plan.json        what is being done, to know whether it is the same
    OUT.partial/…                a run folder in the making
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad.capture import CAPTURE_FILE
from muad.checkpoints.checkpoint import create_run
from muad.datasets.content_hash import content_hash
from muad.datasets.index import open_catalog
from muad.decisions.limit_history import HISTORY_FOLDER
from muad.decisions.limits import CALIBRATION_FILE, LIMITS_FILE
from muad.errors import CheckpointError, ConfigError, DataError
from muad.images.roi import InterestMasks, copy_masks
from muad.recognition.products import FACTS_FILE, TENSORS_FILE
from muad.runs.folder import DRAFT, ROI_FOLDER, checkpoints, make_folder, usable_folder, write_text
from muad.runs.history import HISTORY_FILE
from muad.runs.images import RunImages, file_digest, pixel_digest, write_run_images
from muad.types import Record

if TYPE_CHECKING:
    from muad.configuration.run_config import RunConfig

Notice = Callable[[str], None]
DATA_FILE, PLAN_FILE = "data.jsonl", "plan.json"
_COPIED = (LIMITS_FILE, CALIBRATION_FILE, FACTS_FILE, TENSORS_FILE, CAPTURE_FILE, HISTORY_FILE)
_LOG = "metrics.jsonl"


def new_folder(run: Path, out: str | Path | None, ending: str) -> Path:
    """Where the new run goes: as asked for, or beside the old one.

    Args:
        run: The old run.
        out: As asked for; None for beside it.
        ending: Of the name beside it.

    Raises:
        CheckpointError: Something is there already.
    """
    whole = run.absolute()
    place = whole.with_name(f"{whole.name}-{ending}") if out is None else Path(out)
    usable_folder(place)
    if place.is_dir() and any(place.iterdir()):
        raise CheckpointError(f"out must be a new or empty folder, got {place}. Name another with --out.")
    return place


def begin_draft(run: Path, out: Path, config: RunConfig, plan: Mapping[str, Any], note: Notice) -> Path:
    """The folder the new run is made in, with what it has from the old one; one of the same plan goes on as it is.

    Args:
        run: The old run.
        out: Where the new one will be.
        config: Of the old run.
        plan: All that the result depends on, as plain values.
        note: Told if an interrupted one goes on.

    Raises:
        CheckpointError: It cannot be written.
    """
    draft, text = out.with_name(out.name + DRAFT), json.dumps(plan, indent=1) + "\n"
    path = draft / PLAN_FILE
    goes_on = path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text
    if goes_on:
        note(f"going on where {draft} was interrupted")
    own_weights = [encoder.weights.name for encoder in config.encoders if encoder.weights is not None]
    try:
        if not goes_on:
            shutil.rmtree(draft, ignore_errors=True)
            make_folder(draft)
            for name in (*own_weights, _LOG):
                _copy(run / name, draft / name)
        # Only what was learned is gone on with; all that follows from it is made again.
        for name in _COPIED:
            _copy(run / name, draft / name)
        shutil.rmtree(draft / HISTORY_FOLDER, ignore_errors=True)
        if (run / HISTORY_FOLDER).is_dir():
            shutil.copytree(run / HISTORY_FOLDER, draft / HISTORY_FOLDER)
        if config.images.roi_dir is not None:
            copy_masks(config.images.roi_dir, draft / ROI_FOLDER)
    except OSError as error:
        raise CheckpointError(
            f"out must be writable, got {draft} ({error}). Free disk space, or name another."
        ) from None
    write_text(path, text)
    return draft


def _copy(source: Path, target: Path) -> None:
    """A file, where there is one; else none."""
    target.unlink(missing_ok=True)
    if source.is_file():
        shutil.copyfile(source, target)


def add_masks(draft: Path, config: RunConfig, roi: Path | None, products: Sequence[str]) -> RunConfig:
    """Regions of interest of new products, for a run that has such; its settings with the folder they all are in.

    Args:
        draft: Folder of the new run.
        config: Of the old run.
        roi: Folder with a mask for each new product; None where the old run has them all, or none.
        products: New ones.

    Raises:
        ConfigError: A mask is missing, or given to a run without any.
    """
    if config.images.roi_dir is None:
        if roi is not None:
            raise ConfigError(f"roi must be left out for a run without regions of interest, got {roi}.")
        return config
    if roi is not None:
        copy_masks(roi, draft / ROI_FOLDER)
    InterestMasks(draft / ROI_FOLDER).require(products)
    return dataclasses.replace(config, images=dataclasses.replace(config.images, roi_dir=draft / ROI_FOLDER))


def write_images(
    draft: Path, before: RunImages, training: Sequence[Record], calibration: Sequence[Record],
    alike: Sequence[Sequence[Record]],
) -> RunImages:  # fmt: skip
    """Write down which images the new run has: those of the old one and some more.

    Raises:
        CheckpointError: The folder cannot be written.
    """
    old = {
        side: {name: {_whole(before.base / one): digest for one, digest in own.items()} for name, own in sides.items()}
        for side, sides in (("training", before.training), ("calibration", before.calibration))
    }
    for side, records in (("training", training), ("calibration", calibration)):
        for record in records:
            old[side].setdefault(record.category, {})[_whole(record.path)] = file_digest(record.path)
    taken = {digest for sides in old.values() for own in sides.values() for digest in own.values()}
    set_aside = {
        name: {_whole(before.base / one): digest for one, digest in own.items() if digest not in taken}
        for name, own in before.set_aside.items()
    }
    objects = {_whole(before.base / one): placed for one, placed in before.objects.items()}
    for record in (*training, *calibration):
        if record.object_id is not None and record.view is not None:
            objects[_whole(record.path)] = (record.object_id, record.view)
    groups = None
    if before.alike is not None:
        groups = {
            name: [[_whole(before.base / one) for one in group] for group in own] for name, own in before.alike.items()
        }
        for group in alike:
            groups.setdefault(group[0].category, []).append([_whole(record.path) for record in group])
    pixels = dict(before.pixels)
    if pixels:
        found = ((file_digest(record.path), pixel_digest(record.path)) for record in (*training, *calibration))
        pixels |= {digest: picture for digest, picture in found if picture is not None}
    images = RunImages(
        data=Path(DATA_FILE),
        layout="manifest",
        training=old["training"],
        calibration=old["calibration"],
        alike=groups,
        set_aside=set_aside,
        calibrated=before.calibrated,
        pixels=pixels,
        objects=objects,
        object_rule=before.object_rule,
    )
    write_run_images(draft, images)
    return images


def write_data(draft: Path, images: RunImages, records: Iterable[Record]) -> list[Record]:
    """Write the manifest of the new run's good images, those that still lie where they were; returns them.

    Args:
        draft: Folder of the new run.
        images: What it has.
        records: What is known of some of them, such as the object they show.

    Raises:
        CheckpointError: The folder cannot be written.
    """
    known = {_whole(record.path): record for record in records}
    rows, listed = list[str](), list[Record]()
    sides = (images.training, images.calibration)
    for name in sorted({*images.training, *images.calibration}):
        for place in sorted({one for side in sides for one in side.get(name, ())}):
            if not Path(place).is_file():
                continue
            record = known.get(place, Record(path=Path(place), category=name, split="train", is_anomalous=False))
            listed.append(dataclasses.replace(record, path=Path(place), category=name, split="train"))
            row = {"path": place, "category": name, "label": "good", "split": "train"}
            row |= {key: value for key in ("object_id", "view") if (value := getattr(record, key)) is not None}
            rows.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_text(draft / DATA_FILE, "".join(rows))
    return listed


def records_of(facts: Mapping[str, Any], run: Path) -> list[Record]:
    """What the data set of a run says of its images, if it can still be read."""
    if not facts.get("data"):
        return []
    try:
        return list(open_catalog(run / facts["data"], facts.get("layout", "auto")).records)
    except DataError:
        return []


def write_facts(
    draft: Path,
    config: RunConfig,
    facts: Mapping[str, Any],
    images: RunImages,
    listed: Sequence[Record],
    environment: Mapping[str, Any],
) -> None:
    """Write `config.toml` and `run.json` of the new run.

    Args:
        draft: Its folder.
        config: Its settings.
        facts: Of the old run.
        images: What the new one has.
        listed: Those of them that are there.
        environment: Versions and machine.
    """
    counts = Counter({name: len(own) for name, own in images.training.items()})
    told = {
        **facts,
        "categories": {name: counts[name] for name in sorted(counts) if counts[name]},
        "calibration": {name: len(own) for name, own in sorted(images.calibration.items()) if own},
        "data": DATA_FILE,
        "layout": "manifest",
        "data_hash": content_hash(listed, draft),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **environment,
        "finished": True,
    }
    create_run(draft, config, told)


def finish_draft(draft: Path, out: Path) -> None:
    """Put the new run in its place.

    Raises:
        CheckpointError: It cannot be.
    """
    try:
        for old in checkpoints(draft)[:-1]:
            shutil.rmtree(old.folder)
        (draft / PLAN_FILE).unlink()
        if out.is_dir():
            out.rmdir()
        draft.rename(out)
    except OSError as error:
        raise CheckpointError(f"out must be a place a folder can be put, got {out} ({error}). Name another.") from None


def _whole(path: Path) -> str:
    return path.absolute().as_posix()
