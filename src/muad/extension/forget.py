"""The verb `forget`: a product leaves a run, with its patches, limits, what it was recognised by and its images' names.

Patches of other products stay bit for bit. Their scores can only rise, where a patch of theirs lay nearest to one of
the product that goes; so the same proof is made as for an extension. What limits and scores were before is not carried
over, because it names the product.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from muad._version import __version__
from muad.calibration.calibrate import weights_digest
from muad.capture.learning import forget_capture
from muad.checkpoints.checkpoint import load_detector, save_checkpoint
from muad.decisions.limits import read_limits
from muad.detectors.base import FittingDetector
from muad.errors import ConfigError
from muad.extension.extend import memory_of, readable_run
from muad.extension.folder import (
    begin_draft,
    finish_draft,
    new_folder,
    records_of,
    write_data,
    write_facts,
    write_images,
)
from muad.extension.limits import drop_limits, settle_limits
from muad.extension.proof import figures_of, is_moved, movements, rescored, witnesses
from muad.extension.settings import ExtensionSettings
from muad.progress import shows_progress
from muad.recognition.learning import forget_product
from muad.runs.folder import ROI_FOLDER, checkpoints
from muad.runs.history import HistoryEntry, add_to_history
from muad.types import DeviceName

if TYPE_CHECKING:
    from muad.runs.images import RunImages

Progress = Callable[[str, int, int, float | None], None]
Notice = Callable[[str], None]
_Value = TypeVar("_Value")


def _silent(*_: object) -> None:
    """For callers who want no news."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was done.

    Attributes:
        out: The new run.
        entry: What was written into its history.
    """

    out: Path
    entry: HistoryEntry

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"out": str(self.out), "history": dataclasses.asdict(self.entry)}


@shows_progress
def forget(
    run: str | Path,
    product: str,
    out: str | Path | None = None,
    *,
    bound: float | None = None,
    device: DeviceName = "auto",
    encoder_weights: str | Path | None = None,
    progress: Progress = _silent,
    note: Notice = _silent,
) -> Forgotten:
    """Make a run without one of its products; the run itself is only read.

    Args:
        run: Run folder, trained to its end.
        product: Which.
        out: The new run; None for `RUN-without-PRODUCT` beside it.
        bound: As of an extension; None for its default.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        encoder_weights: Where the encoder's file lies now, if not where it was at training.
        progress: Called with what is being done, how much is done, how much there is, and None.
        note: Called with sentences the user should see.

    Raises:
        ConfigError: The run has no such product, or no other, or its detector cannot forget.
        CheckpointError: No usable run there, or `out` holds something already or cannot be written.
    """
    began, run = time.process_time(), Path(run)
    bound = ExtensionSettings().bound if bound is None else ExtensionSettings(bound=bound).bound
    facts, known, config = readable_run(run, "made to forget", encoder_weights)
    products = tuple(facts["categories"])
    if product not in products:
        raise ConfigError(f"product must be one of the run's, {', '.join(products)}, got {product!r}.")
    if len(products) == 1:
        raise ConfigError(f"product must not be the only one of the run, got {product}. Delete the run instead.")
    weights = None if encoder_weights is None else Path(encoder_weights)
    detector = load_detector(run, weights)
    if not isinstance(detector, FittingDetector) or config.training.mode == "per_category":
        raise ConfigError(
            f"detector must be a memory of all products to forget one, got {config.detector.name} in mode "
            f"{config.training.mode}: it takes a new training without {product}."
        )
    detector.forget(product)
    place = new_folder(run, out, f"without-{product}")
    others = tuple(name for name in products if name != product)
    proof, before = witnesses(known, others), weights_digest(run)
    draft = begin_draft(run, place, config, {"forget": product, "weights": before}, note)
    save_checkpoint(draft, checkpoints(run)[-1].step, detector, None)
    images = write_images(draft, _without(known, product), (), (), ())
    listed = write_data(draft, images, [one for one in records_of(facts, run) if one.category in others])
    shutil.rmtree(draft / "limits", ignore_errors=True)
    (draft / ROI_FOLDER / f"{product}.png").unlink(missing_ok=True)
    write_facts(draft, config, facts, images, listed, {})
    drop_limits(draft, product)
    forget_capture(draft, product)
    forget_product(draft, product, device=device)

    def score(folder: Path, what: str) -> dict[str, Any]:
        return figures_of(
            folder, proof.images, what, device=device, encoder_weights=weights, progress=progress, note=note
        )

    figures_before, figures = score(run, "score the others, before"), score(draft, "score the others, after")
    found = movements(figures_before, figures, proof.missing, read_limits(run, ()))
    moved = {name: is_moved(movement, bound) for name, movement in found.items()}
    scored = rescored(figures, [name for name in others if moved[name]], images, str(known.data), note)
    after = weights_digest(draft)
    settled = settle_limits(draft, others, after, moved, scored, found, note)
    shutil.rmtree(draft / "limits", ignore_errors=True)
    entry = HistoryEntry(
        kind="forget",
        way="dropped patches",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        muad=__version__,
        run=str(run.absolute()),
        weights_before=before,
        weights_after=after,
        forgotten=(product,),
        memory=memory_of(run, draft),
        bound=bound,
        seconds=time.process_time() - began,
        products=settled.movements,
    )
    add_to_history(draft, entry)
    finish_draft(draft, place)
    return Forgotten(out=place, entry=entry)


def _without(known: RunImages, product: str) -> RunImages:
    """The images of a run but for those of a product."""

    def others(own: Mapping[str, _Value]) -> dict[str, _Value]:
        return {name: value for name, value in own.items() if name != product}

    sides = (known.training, known.calibration, known.set_aside, known.calibrated)
    training, calibration, set_aside, calibrated = map(others, sides)
    left = {
        digest
        for side in (training, calibration, set_aside, calibrated)
        for own in side.values()
        for digest in own.values()
    }
    names = {name for side in (training, calibration) for own in side.values() for name in own}
    return dataclasses.replace(
        known,
        objects={name: placed for name, placed in known.objects.items() if name in names},
        training=training,
        calibration=calibration,
        set_aside=set_aside,
        calibrated=calibrated,
        alike=None if known.alike is None else others(known.alike),
        pixels={digest: picture for digest, picture in known.pixels.items() if digest in left},
    )
