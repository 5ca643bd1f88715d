"""What people said of parts, as a data set that `muad check-data`, `muad train` and `muad calibrate` read.

    OUT/manifest.csv                       for check-data and train; parts of one serial number stay together
    OUT/good/bolt/<inspection>.jpg         for calibrate: muad calibrate RUN OUT/good --bad OUT/bad
    OUT/bad/bolt/scratch/<inspection>.jpg
    OUT/masks/bolt/scratch/<inspection>.png
    OUT/words.csv                          who said what of which part, and when; also of those left out, and why

Of every product and day only so many are taken, and of every product only so many, spread over its days: one product,
or one day on which somebody was busy, would drown the rest. Which ones is decided by a digest of their ids, so the same
words give the same data set. Parts on which the last words of two people differ are left out, and so are photographs
that were called good once and bad another time.

For calibration only the audit sample is fair (`audit_only`), see `recalibration`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from pathlib import Path

from muad.datasets.tree import ANOMALOUS_NAMES, MASK_FOLDER_NAMES, NORMAL_NAMES
from muad.errors import ConfigError, DataError
from muad.file_names import name_fault
from muad.service.history import History, Inspection, InspectionFilter, NotRecordedError, Pictures, Word

MOST_A_DAY, MOST_A_PRODUCT = 50, 1_000
_MANIFEST = ("path", "category", "label", "mask", "defect_type", "object_id")
_WORDS = (
    "inspection", "at", "station", "category", "serial", "lot", "verdict", "score", "in_audit", "model", "who",
    "said_at", "word", "defect_type", "note", "file", "left_out",
)  # fmt: skip
_NAME = re.compile(r"[^\w-]+", re.ASCII)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedWords:
    """What was written.

    Attributes:
        good: Good photographs by product.
        bad: Bad ones by product.
        masks: How many of the bad ones have a mask.
        left_out: How many parts with a word were left out, by reason.
    """

    good: Mapping[str, int]
    bad: Mapping[str, int]
    masks: int
    left_out: Mapping[str, int]


@dataclass(slots=True, kw_only=True)
class _Part:
    inspection: Inspection
    words: list[Word]
    left_out: str = ""
    file: str = ""
    mask: str = ""
    defect: str = ""
    day: str = field(default="")

    @property
    def is_good(self) -> bool:
        return self.inspection.word == "good"


def export_words(
    history: History,
    pictures: Pictures,
    out: Path,
    *,
    products: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    audit_only: bool = False,
    most_a_day: int = MOST_A_DAY,
    most_a_product: int = MOST_A_PRODUCT,
    note: Callable[[str], None] = lambda _: None,
) -> ExportedWords:
    """Write the data set; the folder must be new or empty, and is whole or not there.

    Args:
        history: The station's memory.
        pictures: Its photographs.
        out: The folder to write.
        products: Which; none for all.
        since: Parts from then on.
        until: Parts before it.
        audit_only: Only parts of the audit sample.
        most_a_day: Good ones, and bad ones, of a product and day.
        most_a_product: Good ones, and bad ones, of a product.
        note: Called with sentences the user should see.

    Raises:
        ConfigError: A number is below 1.
        DataError: The folder is not empty or cannot be written, or nobody has said anything.
    """
    for name, number in (("most_a_day", most_a_day), ("most_a_product", most_a_product)):
        if number < 1:
            raise ConfigError(f"{name} must be at least 1, got {number}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"out must be a new or empty folder, got {out}. Name another.")
    parts = list(_parts(history, products, since, until, audit_only))
    _leave_out_contradictions(parts)
    for group in _groups(parts).values():
        _cap(group, most_a_day, most_a_product)
    if not any(not part.left_out for part in parts):
        raise DataError(
            f"words must be there to export, got none of {len(parts)} that can be taken. People say them on the page."
        )
    categories = {part.inspection.judged_as for part in parts if part.inspection.judged_as is not None}
    draft = out.with_name(f"{out.name}.partial")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for part in parts:
            if not part.left_out:
                _write(part, pictures, draft, categories)
        (draft / "manifest.csv").write_text(_table(_MANIFEST, map(_manifest_row, _taken(parts))), encoding="utf-8")
        rows = (row for part in parts for row in _word_rows(part))
        (draft / "words.csv").write_text(_table(_WORDS, rows), encoding="utf-8")
        if out.exists():
            out.rmdir()
        draft.replace(out)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise DataError(f"out must be a folder that can be written, got {out} ({error.strerror or error}).") from None
    return _summary(parts, note)


def _parts(
    history: History, products: Sequence[str], since: datetime | None, until: datetime | None, audit_only: bool
) -> Iterator[_Part]:
    said: dict[str, list[Word]] = defaultdict(list)
    for word in history.stream_words(since=since):
        said[word.inspection_id].append(word)
    for product in products or (None,):
        wanted = InspectionFilter(
            word="any", judged_as=product, since=since, until=until, in_audit=True if audit_only else None
        )
        for one in history.stream(wanted):
            part = _Part(inspection=one, words=said.get(one.id, []), day=f"{one.at:%Y-%m-%d}")
            last = {word.who: word.word for word in part.words}
            if one.judged_as is None:
                part.left_out = "no product"
            elif len(set(last.values())) > 1:
                part.left_out = "people differ"
            elif one.kept.photo is None or one.pictures_removed:
                part.left_out = "no photograph"
            yield part


def _leave_out_contradictions(parts: Sequence[_Part]) -> None:
    """Of equal photographs one is taken; none of those that are good and bad."""
    same: dict[tuple[str | None, str], list[_Part]] = defaultdict(list)
    for part in _taken(parts):
        if part.inspection.kept.photo_sha256 is not None:
            same[part.inspection.judged_as, part.inspection.kept.photo_sha256].append(part)
    for group in same.values():
        differ = len({part.inspection.word for part in group}) > 1
        for part in group if differ else group[:-1]:
            part.left_out = "the same photograph is good and bad" if differ else "the same photograph"


def _groups(parts: Sequence[_Part]) -> dict[tuple[str | None, bool], list[_Part]]:
    found: dict[tuple[str | None, bool], list[_Part]] = defaultdict(list)
    for part in _taken(parts):
        found[part.inspection.judged_as, part.is_good].append(part)
    return found


def _cap(group: Sequence[_Part], most_a_day: int, most: int) -> None:
    """Leave out what is too many: of each day, then of all, one of each day in turn."""
    days: dict[str, list[_Part]] = defaultdict(list)
    for part in sorted(group, key=lambda one: hashlib.sha256(one.inspection.id.encode()).digest()):
        days[part.day].append(part)
    for own in days.values():
        for part in own[most_a_day:]:
            part.left_out = "too many of this day"
    in_turn = [part for row in zip_longest(*(days[day][:most_a_day] for day in sorted(days))) for part in row if part]
    for part in in_turn[most:]:
        part.left_out = "too many of this product"


def _taken(parts: Sequence[_Part]) -> Iterator[_Part]:
    return (part for part in parts if not part.left_out)


def _write(part: _Part, pictures: Pictures, out: Path, categories: set[str]) -> None:
    one = part.inspection
    try:
        content = pictures.photo(one.kept)
    except NotRecordedError:
        part.left_out = "no photograph"
        return
    words = [word for word in part.words if word.word == one.word]
    kinds = [word.defect_type for word in words if word.defect_type]
    part.defect = "" if part.is_good else folder_name(kinds[-1] if kinds else "bad", categories)
    category = folder_name(one.judged_as or "", set(), kind=False)
    place = Path("good", category) if part.is_good else Path("bad", category, part.defect)
    suffix = Path(one.kept.photo or "").suffix
    part.file = (place / f"{one.id}{suffix}").as_posix()
    (out / place).mkdir(parents=True, exist_ok=True)
    (out / part.file).write_bytes(content)
    drawn = [word.mask for word in words if word.mask]
    if part.is_good or not drawn:
        return
    try:
        mask = pictures.path(drawn[-1]).read_bytes()
    except (NotRecordedError, FileNotFoundError):
        return
    part.mask = Path("masks", category, part.defect, f"{one.id}.png").as_posix()
    (out / part.mask).parent.mkdir(parents=True, exist_ok=True)
    (out / part.mask).write_bytes(mask)


def folder_name(text: str, categories: set[str], *, kind: bool = True) -> str:
    """A name that a person gave, as a folder's: nothing in it leads anywhere, or is taken for something else.

    Args:
        text: Such as a kind of defect.
        categories: Names it must not be mistaken for.
        kind: Whether it names a kind of defect, which must not be called good.

    Example:
        >>> folder_name("../Scratch, deep", set()), folder_name("good", set()), folder_name("bolt", {"bolt"})
        ('Scratch_deep', 'bad', 'bolt_defect')
    """
    if not kind:  # of a product the name is the model's own
        if (fault := name_fault(text)) is not None:
            raise DataError(
                f"product must be usable as a folder name, got {text!r}: {fault}. Name other products: --product"
            )
        return text
    name = _NAME.sub("_", text).strip("_")[:60]
    if not name or name.lower() in NORMAL_NAMES | frozenset(MASK_FOLDER_NAMES) | ANOMALOUS_NAMES:
        return "bad"
    return f"{name}_defect" if name in categories else name


def _manifest_row(part: _Part) -> tuple[str, ...]:
    one = part.inspection
    return (
        part.file,
        one.judged_as or "",
        "good" if part.is_good else "bad",
        part.mask,
        part.defect,
        "" if one.serial is None else one.serial.strip(),
    )


def _word_rows(part: _Part) -> Iterator[tuple[str, ...]]:
    one = part.inspection
    about = (
        one.id, one.at.isoformat(), one.station, one.judged_as or "", one.serial or "", one.lot or "", one.verdict,
        "" if one.score is None else repr(one.score), str(one.in_audit).lower(), one.model_id or "",
    )  # fmt: skip
    for word in part.words:
        said = (word.who, word.at.isoformat(), word.word, word.defect_type or "", word.note or "")
        yield (*map(_harmless, (*about, *said)), part.file, part.left_out)


def _harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _table(names: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return file.getvalue()


def _summary(parts: Sequence[_Part], note: Callable[[str], None]) -> ExportedWords:
    good, bad, left_out = defaultdict[str, int](int), defaultdict[str, int](int), defaultdict[str, int](int)
    for part in parts:
        if part.left_out:
            left_out[part.left_out] += 1
        else:
            (good if part.is_good else bad)[part.inspection.judged_as or ""] += 1
    for name in sorted({*good, *bad}):
        note(f"{name}: {good[name]} good, {bad[name]} bad")
    for why, count in left_out.items():
        note(f"left out, {why}: {count} (words.csv says which)")
    masks = sum(bool(part.mask) for part in _taken(parts))
    return ExportedWords(good=dict(good), bad=dict(bad), masks=masks, left_out=dict(left_out))
