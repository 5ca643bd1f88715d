"""Predict by Ray: parts of a list of photographs are judged by processes that each hold the bundle.

What is finished is kept: the same call goes on after whatever stopped it. A process that dies is started again, and its
part is judged again. What computes is chosen once, so that every process and the next call compute alike.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad._version import __version__
from muad.bundles.bundle import is_bundle
from muad.errors import ConfigError, DataError, MuadError
from muad.runs.folder import read_run
from muad.runtime.computing import Acceleration
from muad.runtime.source import BundleSource, open_source
from muad.scale.cluster import ray_cluster
from muad.scale.job import JobFolder, is_address, line_of, part_name
from muad.scale.judge import TRIES, PartJudge, Work, counted_of
from muad.scale.listing import Listing, list_images
from muad.wording import counted

if TYPE_CHECKING:
    from muad.outputs.maps import MapFormat, MapSize
    from muad.outputs.writing import Save

_LEFT_FREE = 0.25
"""Cores that judges leave to Ray itself, which never starts its work where they claim all."""
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A finished job.

    Attributes:
        images: Of all parts.
        parts: How many.
        known: Parts that were finished before.
        verdicts: How many images of each category and verdict.
    """

    images: int
    parts: int
    known: int
    verdicts: Mapping[tuple[str, str], int] = field(default_factory=dict)


def predict_by_ray(
    bundle: Path,
    places: Sequence[str],
    out: str,
    *,
    acceleration: Acceleration | None = None,
    batch_size: int = 16,
    category: str | None = None,
    pictures: tuple[Save, MapSize, MapFormat] = ("review", "small", "tiff"),
    address: str | None = None,
    judges: int | None = None,
    part_images: int = 512,
    progress: Callable[[int, int], None] = lambda *_: None,
    note: Callable[[str], None] = lambda _: None,
) -> Done:
    """Judge photographs by many processes, on this machine or on a cluster.

    Args:
        bundle: What `muad export` made; its bytes travel to every machine.
        places: Files, folders, addresses such as `s3://bucket/folder`, or lists of them as CSV or Parquet.
        out: Folder or address for results; on a cluster one that every machine reaches.
        acceleration: What computes; None for what the job in `out` began with, or what is fastest here.
        batch_size: Images per forward pass.
        category: What all images show, if it is known.
        pictures: The mildest verdict that leaves overlay and map, size and format of maps.
        address: Of a Ray cluster, or `auto`; None for one of this machine's own.
        judges: Processes, each of one thread; None for one a core.
        part_images: Images a part: what is judged again where a process dies.
        progress: Told how many images are done, of how many.
        note: Called with sentences the user should see.

    Raises:
        ConfigError: No bundle, another job is in `out` or at work there, or the cluster cannot be reached.
        DataError: Photographs cannot be found, `out` cannot be written, or judges died of some parts; the others stay.
        CheckpointError: The bundle cannot be used, here or there.
        KeyboardInterrupt: Ctrl-C; finished parts stay.
    """
    if not is_bundle(bundle):
        raise ConfigError(f"run must be a bundle to be judged by Ray, got {bundle}. Make one: muad export {bundle}")
    for name, value in (("judges", 1 if judges is None else judges), ("part_images", part_images)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}.")
    listing = list_images(places, out)
    for sentence in listing.notes:
        note(sentence)
    folder = JobFolder(out if is_address(out) else os.path.abspath(out))  # noqa: PTH100  resolve() would follow links
    with folder.locked():
        chosen = _settled(bundle, acceleration, category, folder, note)
        work = Work(out=folder.out, acceleration=chosen, batch_size=batch_size, category=category, pictures=pictures)
        content = bundle.read_bytes()
        folder.claim(_facts(content, listing, work, part_images))
        folder.clear_drafts()
        return _Job(folder, listing, work, part_images, progress, note).run(content, address, judges)


class _Job:
    """A job at work."""

    def __init__(
        self,
        folder: JobFolder,
        listing: Listing,
        work: Work,
        each: int,
        progress: Callable[[int, int], None],
        note: Callable[[str], None],
    ) -> None:
        self.folder, self.listing, self.work, self.each = folder, listing, work, each
        self.progress, self.note = progress, note
        self.parts = -(-len(listing.images) // each)
        self.counts: Counter[tuple[str, str]] = Counter()
        self.done = 0

    def run(self, bundle: bytes, address: str | None, judges: int | None) -> Done:
        """Judge what is not finished."""
        known = set(filter(self._is_whole, sorted(self.folder.finished())))
        missing = [number for number in range(self.parts) if number not in known]
        if known:
            self.note(f"{len(known)} of {counted(self.parts, 'part')} are finished already: {self.folder.out}")
        if missing:
            with ray_cluster(address):
                self._judge(missing, bundle, judges)
        self._require_all()
        return Done(images=self.done, parts=self.parts, known=len(known), verdicts=dict(self.counts))

    def _is_whole(self, number: int) -> bool:
        """Whether a part that is there holds what it must; it is counted then."""
        if number >= self.parts:
            return False
        expected = len(self._images_of(number))
        try:
            images, verdicts = counted_of(self.folder.read(part_name(number)))
        except (OSError, ValueError) as error:
            self.note(f"{part_name(number)} cannot be read and is judged again ({line_of(error)[:120]})")
            return False
        if images != expected:
            self.note(f"{part_name(number)} has {images} rows, not {expected}, and is judged again")
            return False
        self._add(images, verdicts)
        return True

    def _judge(self, missing: Sequence[int], bundle: bytes, judges: int | None) -> None:
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        cores = ray.cluster_resources().get("CPU", 1.0)
        many = min(judges or max(1, int(cores)), len(missing))
        rows = [{"part": number, "images": self._told_of(number)} for number in missing]
        with ray.data.DataContext.current(context):
            results = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                _RayJudge,
                fn_constructor_args=([ray.put(bundle)], self.work, str(Path.cwd())),
                compute=ray.data.ActorPoolStrategy(size=many, max_tasks_in_flight_per_actor=1),
                num_cpus=max(0.01, (cores - _LEFT_FREE) / many) if many >= cores else 1,
            )
            try:
                for row in results.iter_rows():
                    self._take(row)
            except ray.exceptions.RayError as error:
                raise _told(error) from None

    def _take(self, row: Mapping[str, Any]) -> None:
        """Count a part that a judge is done with."""
        if row["bug"]:
            raise RuntimeError(row["bug"])
        if row["died"]:
            return  # the others go on; it is told at the end
        if row["fault"]:
            raise DataError(f"{row['fault']} Finished parts stay; the same command goes on.")
        self._add(row["images"], [tuple(one) for one in json.loads(row["verdicts"])])

    def _images_of(self, number: int) -> Sequence[Any]:
        return self.listing.images[number * self.each : (number + 1) * self.each]

    def _told_of(self, number: int) -> str:
        return json.dumps([(image.address, image.name, image.category) for image in self._images_of(number)])

    def _add(self, images: int, verdicts: Sequence[tuple[str, str, int]]) -> None:
        self.done += images
        for category, verdict, count in verdicts:
            self.counts[category, verdict] += count
        self.progress(self.done, len(self.listing.images))

    def _require_all(self) -> None:
        """Tell of parts that no judge has survived."""
        lost = sorted(set(range(self.parts)) - self.folder.finished())
        if lost:
            some = ", ".join(part_name(number) for number in lost[:_NAMED]) + (", …" if len(lost) > _NAMED else "")
            raise DataError(
                f"judges must survive every photograph, got {counted(len(lost), 'part')} of {self.parts} of which they "
                f"died {TRIES} times ({some}). The other parts stay; the same command tries these again."
            )


class _RayJudge(PartJudge):
    """A judge as Ray starts it.

    Args:
        bundle: A list with a reference to its bytes, which Ray leaves as it is, and can start the process anew.
        work: What to do.
        called_in: The folder of the command, from which paths are meant, where that is there.
    """

    def __init__(self, bundle: Sequence[Any], work: Work, called_in: str) -> None:
        import ray

        with contextlib.suppress(OSError):
            os.chdir(called_in)
        super().__init__(ray.get(bundle[0]), work)


def _settled(
    bundle: Path, asked: Acceleration | None, category: str | None, folder: JobFolder, note: Callable[[str], None]
) -> Acceleration:
    """What computes: as asked for, as the job began, or what is fastest here; the bundle is opened for it."""
    begun = (folder.facts() or {}).get("acceleration")
    if asked is None and begun is not None:
        try:
            asked = Acceleration(**begun)
        except TypeError:
            raise DataError(
                f"acceleration must be what a job has written, got {begun!r:.80} in {folder.out}."
            ) from None
    source = open_source(bundle, acceleration=asked, note=note)
    categories = tuple(read_run(source.folder).get("categories", ()))
    if category is not None and categories and category not in categories:
        raise ConfigError(f"category must be one of {', '.join(categories)}, got {category!r}.")
    if not isinstance(source, BundleSource):
        raise TypeError(f"a bundle has a source of its own, got {type(source).__name__}")
    return Acceleration(backend=source.choice.backend, precision=source.choice.precision)  # type: ignore[arg-type]


def _facts(bundle: bytes, listing: Listing, work: Work, each: int) -> dict[str, Any]:
    """What a job is of, to tell it from another."""
    return {
        "format_version": 1,
        "muad": __version__,
        "bundle": f"sha256:{sha256(bundle).hexdigest()}",
        "images": len(listing.images),
        "listing": f"sha256:{listing.digest}",
        "part_images": each,
        "batch_size": work.batch_size,
        "category": work.category,
        "pictures": list(work.pictures),
        "acceleration": asdict(work.acceleration),
    }


def _told(error: Exception) -> Exception:
    """What ended the job: a fault of the user's in a line, or a bug as it is."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MuadError):
            return type(cause)(f"{line_of(cause)} Finished parts stay; the same command goes on.")
        cause = getattr(cause, "cause", None) or cause.__cause__
    return DataError(
        f"a judge must not end by itself, got {line_of(error)[-300:]}. Finished parts stay; the same command goes on."
    )
