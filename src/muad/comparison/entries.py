"""What is compared: each detector with each encoder it can use, under settings that are the same for all."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from muad.checkpoints.checkpoint import build_detector
from muad.configuration.run_config import override
from muad.detectors import detector_class
from muad.detectors.base import FittingDetector
from muad.detectors.registry import detector_names
from muad.errors import CheckpointError, ConfigError, MuadError
from muad.training.choose import adapt_config

if TYPE_CHECKING:
    import torch

    from muad.configuration.run_config import RunConfig
    from muad.detectors.base import LearningDetector
    from muad.types import Catalog

ALL = "all"
_INSTEAD = ("efficientnet-lite2", "muad-tiny")  # whose weights come with packages
_RANDOM = "random-"
_NAME = re.compile(r"([a-z0-9_]+):(?=[a-z_]+\.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of a comparison.

    Attributes:
        detector: Its name.
        encoder: The frozen network it reads; None without one.
        settings: `section.key=value`, but for seed and length.
        steps: How long it would be trained without a budget; None of one that takes none.
        image_px: Height and width it looks at.
        batch_size: Images of a step.
        notes: What differs from the common protocol, and why.
        error: Why it cannot be trained, or None.
    """

    detector: str
    encoder: str | None = None
    settings: tuple[str, ...] = ()
    steps: int | None = None
    image_px: tuple[int, int] = (0, 0)
    batch_size: int = 0
    notes: tuple[str, ...] = ()
    error: str | None = None

    @property
    def key(self) -> str:
        """Names it in files and tables, and the folder it lies in."""
        return (
            self.detector
            if self.encoder is None
            else f"{self.detector}-{re.sub(r'[^A-Za-z0-9._+-]', '_', self.encoder.replace(' + ', '+'))}"
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Entry:
        """The entry that `dataclasses.asdict` gave to JSON."""
        lists = {name: tuple(values[name]) for name in ("settings", "image_px", "notes")}
        return cls(**{**values, **lists})


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What is the same for all.

    Attributes:
        catalog: The data.
        device: Where it is trained.
        encoders: Those asked for, `a+b` for two side by side; empty for each detector's own.
        image_px: Side of the images; a detector that cannot take it keeps its own.
        settings: The user's, `section.key=value` for all or `detector:section.key=value` for one.
    """

    catalog: Catalog
    device: torch.device
    encoders: tuple[str, ...] = ()
    image_px: int = 224
    settings: tuple[str, ...] = ()

    @property
    def shots(self) -> int:
        """Good images of each category that every seed draws, of all detectors; 0 for all there are."""
        asked = override({}, [setting for setting in self.settings if not _NAME.match(setting)])
        shots = asked.get("training", {}).get("shots", 0)
        return shots if isinstance(shots, int) else 0

    @property
    def trained_on(self) -> int:
        """Good images there are to train on, those kept for calibration among them."""
        records = self.catalog.select(split="train")
        return self.shots * len({record.category for record in records}) or len(records)

    def of(self, detector: str) -> tuple[str, ...]:
        """The user's settings of a detector, in order."""
        own = []
        for setting in self.settings:
            named = _NAME.match(setting)
            if named is None or named[1] == detector:
                own.append(setting[named.end() :] if named else setting)
        return tuple(own)


def named_detectors(asked: Sequence[str]) -> tuple[str, ...]:
    """The detectors asked for, each once; `all` stands for every one there is.

    Raises:
        ConfigError: One is not known, or none is named.
    """
    names = tuple(dict.fromkeys(name for one in asked for name in (detector_names() if one == ALL else (one,))))
    if not names:
        raise ConfigError(f"detectors must name at least one of {', '.join(detector_names())}, or {ALL}, got none.")
    for name in names:
        if name not in detector_names():
            detector_class(name)  # says which there are, and which was meant
    return names


def choose_entries(
    names: Sequence[str], protocol: Protocol, progress: Callable[[int, int], None] = lambda *_: None
) -> list[Entry]:
    """Each detector with each encoder it can use of those asked for.

    A detector that can use none of them, or is asked for none, takes its own; where its weights cannot be had, the
    first of those that come with packages, and at last one with random weights.

    Args:
        names: Of the detectors.
        protocol: What is the same for all.
        progress: Called with detectors looked at and in all.

    Raises:
        ConfigError: A setting is unknown or out of range, names no detector there is, or an encoder can be used by
            none of the detectors.
    """
    for setting in protocol.settings:
        named = _NAME.match(setting)
        if named is not None and named[1] not in detector_names():
            raise ConfigError(f"setting must be of a detector, {', '.join(detector_names())}, got {setting}.")
    entries: list[Entry] = []
    refusals: dict[str, list[str]] = {encoder: [] for encoder in protocol.encoders}
    for done, name in enumerate(names, start=1):
        entries += _entries_of(name, protocol, refusals)
        progress(done, len(names))
    used = {entry.encoder for entry in entries}
    for encoder, reasons in refusals.items():
        if encoder not in used:
            raise ConfigError(
                f"encoders must be such as one of {', '.join(names)} can use, got {encoder}: "
                f"{reasons[0] if reasons else 'none of them reads an encoder'}"
            )
    return entries


def _entries_of(name: str, protocol: Protocol, refusals: dict[str, list[str]]) -> Iterator[Entry]:
    own = protocol.of(name)
    try:
        usual = adapt_config(protocol.catalog, protocol.device, [f"detector.name={name}", *own])
    except ConfigError as error:
        raise ConfigError(f"{error} (of {name}; give what only one detector has as NAME:section.key=value)") from None
    except MuadError as error:
        yield Entry(detector=name, error=_line(error))
        return
    except ImportError as error:
        yield Entry(detector=name, error=f"needs the package {error.name}, which is not installed: {error}")
        return
    if not usual.encoders or {"encoder", "encoders"} & override({}, own).get("detector", {}).keys():
        yield _tried(name, None, protocol, own)
        return
    found = [(encoder, _tried(name, encoder, protocol, own)) for encoder in protocol.encoders]
    for encoder, entry in found:
        if entry.error is not None:
            refusals[encoder].append(entry.error)
    fitting = [entry for _, entry in found if entry.error is None or entry.image_px != (0, 0)]
    if fitting:
        yield from fitting
        return
    if usual.encoder is None:  # several side by side, chosen among those that are here
        yield _tried(name, None, protocol, own)
    else:
        yield _first_that_can_be_had(name, usual.encoder.name, protocol, own)


def _first_that_can_be_had(name: str, default: str, protocol: Protocol, own: Sequence[str]) -> Entry:
    """A detector with its own encoder, or with one that stands in for it."""
    first = _tried(name, default, protocol, own)
    if first.error is None:
        return first
    for encoder in (*_INSTEAD, _RANDOM + default, _RANDOM + "vit-tiny"):
        if encoder != default and (entry := _tried(name, encoder, protocol, own)).error is None:
            return dataclasses.replace(entry, notes=(*entry.notes, f"{encoder} instead of {default}: {first.error}"))
    return first


def _tried(name: str, encoder: str | None, protocol: Protocol, own: Sequence[str]) -> Entry:
    """A detector with an encoder; with its error where the two cannot be together, or the weights cannot be had.

    The error of one whose weights are all that is missing comes with an image size.
    """
    base = [f"detector.name={name}", *_reading(encoder), "training.mode=multi_class"]
    fields = {entry.name for entry in dataclasses.fields(detector_class(name).settings)}
    side = protocol.image_px
    size = [f"detector.{field}=[{side}, {side}]" for field in ("resize_px", "crop_px") if field in fields]
    kept = (f"own image size: {side} x {side} px cannot be",)
    error: Exception | None = None
    for sized, notes in ((size, ()), ([], kept)):
        settings = (*base, *sized, *own)
        try:
            config = adapt_config(protocol.catalog, protocol.device, settings)
            build_detector(config)
        except CheckpointError as missing:
            return Entry(detector=name, encoder=encoder, settings=settings, image_px=config.detector.crop_px,
                         error=_line(missing))  # fmt: skip
        except (ConfigError, ImportError) as unfit:
            error = error or unfit
            continue
        return _entry(name, encoder, config, settings, notes)
    return Entry(detector=name, encoder=encoder, error=_line(error))


def _reading(encoder: str | None) -> list[str]:
    """The setting that names an encoder, or several side by side, `a+b`."""
    if encoder is None:
        return []
    several = [one.strip() for one in encoder.split("+")]
    if len(several) == 1:
        return [f'detector.encoder.name="{encoder}"']
    return [f"detector.encoders={json.dumps(several)}"]


def _entry(
    name: str, encoder: str | None, config: RunConfig, settings: tuple[str, ...], notes: tuple[str, ...]
) -> Entry:
    encoder = encoder or config.encoder_name
    one_look = issubclass(detector_class(name), FittingDetector)
    return Entry(
        detector=name,
        encoder=encoder,
        settings=settings,
        steps=None if one_look else config.schedule.total_steps,
        image_px=config.detector.crop_px,
        batch_size=config.training.batch_size,
        notes=notes,
    )


def configured(entry: Entry, protocol: Protocol) -> tuple[RunConfig, LearningDetector]:
    """The settings of an entry and its detector, untrained, with real weights of its encoder.

    Raises:
        MuadError: It cannot be built.
    """
    config = adapt_config(protocol.catalog, protocol.device, entry.settings)
    return config, build_detector(config)


def _line(error: BaseException | None) -> str:
    return " ".join(str(error).split())
