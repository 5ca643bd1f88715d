"""From the training images of a run to its `capture.toml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w

from muad.capture.limits import CAPTURE_FILE, CAPTURE_RATE, CaptureLimits, checked_rate, read_capture
from muad.capture.quantities import Capture, measure
from muad.capture.setting import Learned, learn_limits, least_photographs
from muad.datasets.index import open_catalog
from muad.datasets.spread import evenly_spread
from muad.decisions.conformal import images_needed
from muad.errors import ConfigError, DataError
from muad.images.loading import read_ahead
from muad.images.near_duplicates import Appearance, appearance, near_duplicate_groups
from muad.images.reading import read_image
from muad.images.roi import InterestMasks
from muad.runs.category_tables import with_table, without_category
from muad.runs.folder import read_images_config, read_run, write_text
from muad.runs.images import not_set_aside

if TYPE_CHECKING:
    from muad.images.reading import ValueRange
    from muad.types import Record

_MOST_PHOTOGRAPHS = 1000  # of a product; five times as many as the rate needs
_HEAD = """\
# Between which limits photographs of this run's products lie. What lies outside does not pass, whatever its score: it
# is for a person to look at. Edit a limit, or leave its line out to have none; it holds from the next start on.
# capture_rate is the share of good photographs that may be flagged, for when limits are learned again
# (muad.learn_capture). What is measured is said in docs/capture-proof.md.

"""


def learn_capture(
    run: str | Path,
    records: Sequence[Record] | None = None,
    *,
    capture_rate: float | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> CaptureLimits | None:
    """Learn how photographs of a run are taken, from good ones, and write that into its folder.

    Args:
        run: Run folder.
        records: Images of every category, the good ones of which are measured; None for the training images of the
            run, where they were. Those kept for calibration may be among them: nothing was fitted to either here.
        capture_rate: Share of good photographs that may be flagged; None for that in the file, or 0.5 %.
        note: Called with sentences on what was learned, or why nothing was.

    Returns:
        What was learned; None if the run does not know its categories.

    Raises:
        CheckpointError: No run there, or it cannot be written.
        ConfigError: The rate is out of range.
        DataError: The training images are not where they were.
    """
    folder = Path(run)
    facts = read_run(folder)
    categories = tuple(sorted(facts.get("categories", ())))
    if not categories:
        note("capture: light and sharpness are not checked, because the run does not know its categories")
        return None
    rate = _rate_in_force(folder) if capture_rate is None else checked_rate(capture_rate)
    if records is None:
        if "data" not in facts:
            raise DataError(f"run must say where its training images are, got {folder}, which does not. Name them.")
        catalog = open_catalog(folder / facts["data"], facts.get("layout", "auto"))
        records = not_set_aside(folder, catalog.select(split="train"), catalog.root)
    images = read_images_config(folder)
    interest = None if images.roi_dir is None else InterestMasks(images.roi_dir)
    found: dict[str, Learned | None] = {}
    for name in categories:
        paths = [record.path for record in records if record.category == name and not record.is_anomalous]
        found[name] = learn_category(name, paths, rate, images.value_range, interest)
    write_text(folder / CAPTURE_FILE, _text(found, rate))
    for sentence in _sentences(found, rate):
        note(sentence)
    return read_capture(folder, categories)


def learn_more_capture(
    folder: Path, records: Sequence[Record], note: Callable[[str], None] = lambda _: None
) -> CaptureLimits | None:
    """Learn how photographs of products are taken that `capture.toml` does not have yet; the others stay as they are.

    Args:
        folder: Run folder, or a copy of one that has been told of these products.
        records: Good images of each of them.
        note: Called with sentences on what was learned.

    Returns:
        All that the file says now; None if there is no file to add to.

    Raises:
        CheckpointError: The folder cannot be written.
        ConfigError: The file cannot be read.
    """
    before = read_capture(folder)
    if before is None:
        return None
    images = read_images_config(folder)
    interest = None if images.roi_dir is None else InterestMasks(images.roi_dir)
    text, found = (folder / CAPTURE_FILE).read_text(encoding="utf-8"), dict[str, Learned | None]()
    for name in sorted({record.category for record in records}):
        paths = [record.path for record in records if record.category == name]
        found[name] = learn_category(name, paths, before.rate, images.value_range, interest)
        text = with_table(without_category(text, name), "\n".join(_table(name, found[name])))
    write_text(folder / CAPTURE_FILE, text)
    for sentence in _sentences(found, before.rate):
        note(sentence)
    return read_capture(folder)


def forget_capture(folder: Path, category: str) -> None:
    """Take a product out of `capture.toml`, if it is there.

    Raises:
        CheckpointError: The folder cannot be written.
        ConfigError: The file cannot be read.
    """
    if read_capture(folder) is not None:
        text = (folder / CAPTURE_FILE).read_text(encoding="utf-8")
        write_text(folder / CAPTURE_FILE, without_category(text, category))


def learn_category(
    category: str,
    paths: Sequence[Path],
    rate: float,
    value_range: ValueRange | None = None,
    interest: InterestMasks | None = None,
) -> Learned | None:
    """What is learned from good photographs of one category; None if they are too few.

    Args:
        category: Its name.
        paths: Of the photographs; of thousands, an even choice is measured.
        rate: Share of good photographs that may be flagged.
        value_range: That of the run, for images with more than 8 bits.
        interest: The run's regions of interest.
    """
    if len(paths) < least_photographs():
        return None

    def look(path: Path) -> tuple[Capture, Appearance] | None:
        try:
            image = read_image(path, value_range)
            size = (image.shape[0], image.shape[1])
            inspected = None if interest is None else interest.mask(category, size, f"image {path}")
        except DataError:
            return None  # named during training, where a setting decided to leave it out
        return measure(image, inspected), appearance(image)

    seen = [each for each in read_ahead(look, evenly_spread(paths, _MOST_PHOTOGRAPHS)) if each is not None]
    groups = near_duplicate_groups([picture for _, picture in seen])
    return learn_limits([captured for captured, _ in seen], groups, rate)


def _rate_in_force(run: Path) -> float:
    """The rate that a person may have set there before."""
    try:
        before = read_capture(run)
    except ConfigError:
        return CAPTURE_RATE
    return CAPTURE_RATE if before is None else before.rate


def _text(found: Mapping[str, Learned | None], rate: float) -> str:
    lines = [f"capture_rate = {rate!r}"]
    for category, learned in found.items():
        lines += ["", *_table(category, learned)]
    return _HEAD + "\n".join(lines) + "\n"


def _table(category: str, learned: Learned | None) -> list[str]:
    """Lines of one category."""
    lines = [tomli_w.dumps({"categories": {category: {}}}).strip()]
    if learned is None:
        return [*lines, f"# no limits: they need {least_photographs()} good photographs that do not repeat each other"]
    differ = "" if learned.independent == learned.photographs else f", {learned.independent} that differ"
    promise = f"at most {100 * learned.rate:.2g} % of good ones are flagged"
    lines.append(f"# {learned.photographs} good photographs{differ}: {promise}")
    for name, bounds in learned.bounds.items():
        given = {side: value for side, value in asdict(bounds).items() if value is not None}
        if given:
            low, middle, high = learned.seen[name]
            said = ", ".join(f"{side} = {value!r}" for side, value in given.items())
            lines.append(f"{name} = {{{said}}}  # good ones: {low:.4g} to {high:.4g}, median {middle:.4g}")
    return lines


def _sentences(found: Mapping[str, Learned | None], rate: float) -> list[str]:
    """What is promised for which categories, and what is missing."""
    known = {name: learned for name, learned in found.items() if learned is not None}
    said = []
    if known:
        each = ", ".join(f"{name} {100 * learned.rate:.2g} %" for name, learned in known.items())
        said.append(f"capture: good photographs flagged for light or sharpness, at most: {each} ({CAPTURE_FILE})")
    short = {name: images_needed(rate) - learned.independent for name, learned in known.items() if learned.rate > rate}
    if short:
        more = ", ".join(f"{name} {count}" for name, count in short.items())
        said.append(f"capture: good images a rate of {100 * rate:.2g} % still needs: {more}")
    if len(known) < len(found):
        few = ", ".join(name for name in found if name not in known)
        said.append(
            f"capture: light and sharpness are not checked for {few}: that needs {least_photographs()} good images each"
        )
    return said
