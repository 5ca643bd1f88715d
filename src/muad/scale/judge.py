"""What one process of a large job does: it holds a bundle, judges the photographs of a part, and writes its rows."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import traceback
import weakref
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muad.errors import MuadError
from muad.images.loading import read_ahead
from muad.images.reading import ImageBytes
from muad.outputs.sources import Source
from muad.outputs.tables import COLUMNS
from muad.outputs.writing import write_one
from muad.runtime.looking import Photograph
from muad.runtime.predictor import Predictor
from muad.scale.job import DRAFT, PARTS, is_address, line_of, part_name, place_of, write_whole
from muad.scale.listing import Listed

if TYPE_CHECKING:
    from muad.outputs.maps import MapFormat, MapSize
    from muad.outputs.writing import Save
    from muad.runtime.computing import Acceleration
    from muad.runtime.prediction import ImagePrediction

NOT_PREDICTED = "not predicted"
TRIES = 4
"""How often a part is begun in one call; where judges die of it, it is left out, and the others go on."""
_READ_AHEAD = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every process of a job is told.

    Attributes:
        out: Where results go.
        acceleration: What computes; the same in every process, or scores would differ.
        batch_size: Images per forward pass.
        category: What all images show, if it is known.
        pictures: The mildest verdict that leaves overlay and map, size and format of maps.
    """

    out: str
    acceleration: Acceleration
    batch_size: int = 16
    category: str | None = None
    pictures: tuple[Save, MapSize, MapFormat] = ("review", "small", "tiff")


class PartJudge:
    """Judges parts of a job; one a process.

    Args:
        bundle: The bundle's bytes.
        work: What to do.

    Raises:
        CheckpointError: They are no bundle that can be used here.
        ConfigError: What is to compute it is not here.
    """

    def __init__(self, bundle: bytes, work: Work) -> None:
        folder = Path(tempfile.mkdtemp(prefix="muad-judge-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # also at the end of the process
        file = folder / f"{hashlib.sha256(bundle).hexdigest()[:16]}.muad"
        file.write_bytes(bundle)
        self._predictor = Predictor(file, acceleration=work.acceleration)
        self._work = work
        self._system, self._root, self._is_local = place_of(work.out)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Judge a part, write its rows.

        Args:
            row: `part`, its number, and `images`, a JSON list of `[address, name, category]`.

        Returns:
            `part`; `images`, how many; `verdicts`, JSON of how many of each category and verdict; `fault`, why the part
            could not be written, or empty; `bug`, a traceback, or empty; `died`, whether judges died of it.
        """
        number = int(row["part"])
        told = {"part": number, "images": 0, "verdicts": "[]", "fault": "", "bug": "", "died": False}
        images = [Listed(address=a, name=n, category=c) for a, n, c in json.loads(row["images"])]
        place = f"{self._root}/{part_name(number)}"
        begun = f"{self._root}/{PARTS}/.{number:06d}.begun{DRAFT}"
        try:
            if not self._begin(begun):
                return told | {"died": True}
            rows = list(self._judged(images))
            write_whole(self._system, place, parquet_of(rows), local=self._is_local)
            self._system.rm_file(begun)
        except MuadError as error:
            return told | {"fault": line_of(error)}
        except OSError as error:
            fault = f"out must be a place that can be written, got {self._work.out} ({line_of(error)})."
            return told | {"fault": fault}
        except Exception:  # noqa: BLE001  where a process ends, Ray starts another, which meets the bug again
            return told | {"bug": traceback.format_exc()}
        return told | {"images": len(rows), "verdicts": json.dumps(verdicts_of(rows))}

    def _begin(self, place: str) -> bool:
        """Count that a part is begun; whether it may be. Ray itself begins it for ever."""
        try:
            before = int(self._system.cat_file(place))
        except (FileNotFoundError, ValueError):
            before = 0
        if before >= TRIES:
            return False
        write_whole(self._system, place, str(before + 1).encode(), local=self._is_local)
        return True

    def _judged(self, images: Sequence[Listed]) -> Iterator[dict[str, Any]]:
        """Their rows, in order; what cannot be opened has the reason why."""
        waiting: deque[tuple[Listed, str | None]] = deque()  # read, and not judged yet

        def photographs() -> Iterator[Photograph]:
            opened = read_ahead(self._open, images, ahead=_READ_AHEAD)
            for image, (photograph, fault) in zip(images, opened, strict=True):
                waiting.append((image, fault))
                if photograph is not None:
                    yield photograph

        for prediction in self._predictor.stream(photographs(), batch_size=self._work.batch_size):
            yield from _faults(waiting)
            yield self._kept(prediction, waiting.popleft()[0])
        yield from _faults(waiting)

    def _open(self, image: Listed) -> tuple[Photograph | None, str | None]:
        """A photograph, or why it cannot be judged."""
        path = Path(image.address)
        if is_address(image.address):
            path = Path("/", image.address.partition("://")[2])
        category = self._work.category or image.category
        try:
            category = self._predictor.category_of(path, category)
        except MuadError as error:
            return None, str(error)
        if not is_address(image.address):
            return Photograph(path, category), None
        try:
            system, place, _ = place_of(image.address)
            return Photograph(ImageBytes(content=system.cat_file(place), name=image.address), category), None
        except Exception as error:  # noqa: BLE001  every file system has faults of its own
            return None, f"image {image.address} must be one that can be read, got {line_of(error)}."

    def _kept(self, prediction: ImagePrediction, image: Listed) -> dict[str, Any]:
        """The row of a prediction, its pictures written."""
        source = Source(path=Path(image.address), name=Path(image.name))
        if self._is_local:
            return write_one(prediction, source, Path(self._root), self._work.pictures) | {"path": image.address}
        with tempfile.TemporaryDirectory(prefix="muad-pictures-") as folder:
            row = write_one(prediction, source, Path(folder), self._work.pictures)
            for name in (row["overlay"], row["map"]):
                if name is not None:
                    self._system.pipe_file(f"{self._root}/{name}", (Path(folder) / name).read_bytes())
        return row | {"path": image.address}


def _faults(waiting: deque[tuple[Listed, str | None]]) -> Iterator[dict[str, Any]]:
    """Rows of what comes next and could not be opened."""
    while waiting and waiting[0][1] is not None:
        image, fault = waiting.popleft()
        empty: dict[str, Any] = dict.fromkeys(COLUMNS)
        yield empty | {"path": image.address, "category": image.category, "error": fault}


def parquet_of(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as Parquet, with the columns of `results.csv`."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"score": pa.float64(), "p_value": pa.float64(), "width": pa.int32(), "height": pa.int32()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    columns = [
        pa.array([_cell(row.get(name)) for row in rows], kind) for name, kind in zip(COLUMNS, schema.types, strict=True)
    ]
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns, schema=schema), sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def counted_of(content: bytes) -> tuple[int, list[tuple[str, str, int]]]:
    """How many rows a finished part has, and how many of each category and verdict.

    Raises:
        ValueError: It is no Parquet file, or one of other columns.
        OSError: It is damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(pa.BufferReader(content))
    if tuple(table.column_names) != COLUMNS:
        raise ValueError("other columns")
    rows = table.select(["category", "verdict", "error"]).to_pylist()
    return len(rows), verdicts_of(rows)


def verdicts_of(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """How many rows there are of each category and verdict; `none` without one, `not predicted` with an error."""
    counts = Counter(
        (row["category"] or "-", NOT_PREDICTED if row["error"] is not None else row["verdict"] or "none")
        for row in rows
    )
    return [(category, verdict, count) for (category, verdict), count in sorted(counts.items())]


def _cell(value: Any) -> Any:  # noqa: ANN401  of a row
    """Names of files that are no text on this system are written as far as they can be, as in `results.csv`."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
