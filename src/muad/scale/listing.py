"""What a large job judges: photographs in folders, at addresses such as `s3://bucket/folder`, or in a list.

A list is a CSV or Parquet file with a column `path` and, if it is known, `category`; a path is an address or lies
beside the list. What cannot be understood of it is told by its row, and does not stop the others.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from muad.errors import DataError
from muad.images.reading import IMAGE_SUFFIXES
from muad.outputs.names import free_name, name_key
from muad.outputs.sources import JOB_JSON, MAPS, OVERLAYS, find_images
from muad.scale.job import is_address, line_of, place_of
from muad.wording import counted

_LISTS = (".csv", ".tsv", ".parquet")
_TOLD = 5  # wrong rows that are told one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A photograph of the job.

    Attributes:
        address: A path, or an address that fsspec opens.
        name: What its overlay and map are called, without suffix.
        category: What it shows; None where the list does not say.
    """

    address: str
    name: str
    category: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Everything a job judges.

    Attributes:
        images: In the order they are judged in.
        notes: Sentences on rows that are left out.
    """

    images: tuple[Listed, ...]
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Tells whether another listing is the same, in the same order."""
        whole = hashlib.sha256()
        for image in self.images:
            whole.update(json.dumps(astuple(image)).encode())
        return whole.hexdigest()


def list_images(places: Sequence[str], out: str) -> Listing:
    """Every photograph of files, folders, addresses and lists, each once.

    Args:
        places: Where they are.
        out: Where results will go; what is there already is not taken for photographs.

    Raises:
        DataError: A place is not there, cannot be read, or holds no photograph.
    """
    found: dict[str, Listed] = {}
    taken: set[str] = set()
    notes: list[str] = []
    here = [Path(place) for place in places if not is_address(place) and not _is_list(place)]
    if here:
        for one in find_images(here, out=None if is_address(out) else Path(out)):
            found[one.path.as_posix()] = Listed(address=one.path.as_posix(), name=one.name.as_posix())
            taken.add(name_key(one.name))
    for place in places:
        if _is_list(place):
            rows = list(_rows_of(place, notes))
        elif is_address(place):
            rows = [(address, None) for address in _below(place, out)]
        else:
            continue
        if not rows:
            raise DataError(f"{place} must hold photographs, got none. Check it.")
        for address, category in rows:
            if address not in found:
                name = free_name(_relative(address), taken)
                found[address] = Listed(address=address, name=name.as_posix(), category=category)
    return Listing(images=tuple(found.values()), notes=tuple(notes))


def _is_list(place: str) -> bool:
    return place.lower().endswith(_LISTS)


def _relative(address: str) -> Path:
    """The last folders of an address, under which its outputs lie."""
    parts = PurePosixPath(address.partition("://")[2] or address.replace("\\", "/")).parts
    return Path(*[part for part in parts if part not in ("/", "..", ".")][-4:])


def _below(place: str, out: str) -> Iterator[str]:
    """Addresses of the photographs below an address, sorted; hidden ones and the pictures of a job left out."""
    try:
        system, root, _ = place_of(place)
        if system.isfile(root):
            yield place
            return
        names = [(name, PurePosixPath(name.removeprefix(root).lstrip("/"))) for name in sorted(system.find(root))]
        jobs = {path.parent for _, path in names if path.name == JOB_JSON}
        for name, path in names:
            hidden = any(part.startswith(".") for part in path.parts)
            drawn = any(above.name in (OVERLAYS, MAPS) and above.parent in jobs for above in path.parents)
            address = system.unstrip_protocol(name)
            own = address.startswith((f"{out.rstrip('/')}/{OVERLAYS}/", f"{out.rstrip('/')}/{MAPS}/"))
            if path.suffix.lower() in IMAGE_SUFFIXES and not (hidden or drawn or own):
                yield address
    except Exception as error:  # noqa: BLE001  every file system has faults of its own
        raise DataError(f"{place} must be an address that can be read, got {line_of(error)}. Check it.") from None


def _rows_of(place: str, notes: list[str]) -> Iterator[tuple[str, str | None]]:
    """Addresses and categories of a list; wrong rows become a sentence."""
    wrong: list[int] = []
    for number, row in _table(place):
        path, category = row.get("path"), row.get("category")
        if not isinstance(path, str) or not path.strip() or not (category is None or isinstance(category, str)):
            wrong.append(number)
            continue
        yield _beside(place, path.strip()), (category or "").strip() or None
    if wrong:
        some = ", ".join(map(str, wrong[:_TOLD])) + (", …" if len(wrong) > _TOLD else "")
        one = len(wrong) == 1
        notes.append(
            f"{place}: {counted(len(wrong), 'row')} {'has' if one else 'have'} no usable path and "
            f"{'is' if one else 'are'} left out ({'row' if one else 'rows'} {some})"
        )


def _table(place: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows of a list with their numbers, as an editor counts lines; a row that cannot be split is empty."""
    import fsspec

    try:
        if place.lower().endswith(".parquet"):
            from pyarrow import parquet

            with fsspec.open(place, "rb") as file:
                table = parquet.ParquetFile(file)
                names = table.schema_arrow.names
                _require_path(names, place)
                wanted = [name for name in ("path", "category") if name in names]
                for number, row in enumerate(
                    (row for batch in table.iter_batches(columns=wanted) for row in batch.to_pylist()), start=1
                ):
                    yield number, row
            return
        # Each line by itself, so that a quote left open spoils one row; bytes that are no UTF-8 may be those of a path.
        with fsspec.open(place, "r", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            header = file.readline()
            delimiter = max(",;\t", key=header.count)
            names = _cells(header, delimiter)
            _require_path(names, place)
            for number, line in enumerate(file, start=2):
                if line.strip():
                    cells = _cells(line, delimiter)
                    yield number, dict(zip(names, cells, strict=True)) if len(cells) == len(names) else {}
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001  every file system has faults of its own
        raise DataError(f"list {place} must be CSV or Parquet that can be read, got {line_of(error)}.") from None


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []


def _require_path(names: Sequence[str], place: str) -> None:
    if "path" not in names:
        raise DataError(f"list {place} must have a column path, got {', '.join(names) or 'none'}. Add a line of names.")


def _beside(place: str, path: str) -> str:
    """A path of a list as an address: as it is, or from the list's own folder."""
    if is_address(path) or Path(path).is_absolute():
        return path
    folder = place.replace("\\", "/").rpartition("/")[0]
    return f"{folder}/{path}" if folder else path
