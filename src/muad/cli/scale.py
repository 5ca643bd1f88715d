"""`muad predict --engine ray`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from muad.cli.display import progress_bar, say, show_verdicts
from muad.cli.log_file import keep_log
from muad.wording import counted

if TYPE_CHECKING:
    from muad.outputs.maps import MapFormat, MapSize
    from muad.outputs.writing import Save
    from muad.runtime.computing import Acceleration

_PART_IMAGES = 512


def require_engine(engine: str, unused: Sequence[str]) -> None:
    """Refuse another engine, and options that Ray has no use for.

    Raises:
        ConfigError: So it is.
    """
    from muad.errors import ConfigError

    if engine != "ray":
        raise ConfigError(f"engine must be here or ray, got {engine!r}.")
    if unused:
        raise ConfigError(f"{unused[0]} must be left out with engine ray, got it. The same command goes on by itself.")


def require_here(paths: Sequence[str], out: str, options: Mapping[str, object]) -> None:
    """Refuse what only Ray has a use for.

    Raises:
        ConfigError: So it is.
    """
    from muad.errors import ConfigError

    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"{name} must be left out without engine ray, got {value}. Add --engine ray.")
    for place in (*paths, out):
        if "://" in place:
            raise ConfigError(f"paths and out must be files and folders without engine ray, got {place}.")


def predict(
    bundle: Path,
    paths: Sequence[str],
    out: str,
    *,
    acceleration: Acceleration | None,
    batch_size: int,
    category: str | None,
    pictures: tuple[Save, MapSize, MapFormat],
    address: str | None,
    judges: int | None,
    part_images: int | None,
) -> None:
    """Judge by many processes or machines, and say what came out."""
    from muad.errors import DataError
    from muad.scale import NOT_PREDICTED, predict_by_ray

    if "://" not in out:
        keep_log(Path(out), "parts")
    with progress_bar() as update:
        done = predict_by_ray(
            bundle, paths, out, acceleration=acceleration, batch_size=batch_size, category=category, pictures=pictures,
            address=address, judges=judges, part_images=_PART_IMAGES if part_images is None else part_images,
            progress=lambda count, total: update("predict", count, total, None), note=say,
        )  # fmt: skip
    faults = sum(count for (_, verdict), count in done.verdicts.items() if verdict == NOT_PREDICTED)
    seen = {key: count for key, count in done.verdicts.items() if key[1] != NOT_PREDICTED}
    said = f"{counted(done.images - faults, 'image')} predicted, {faults} not"
    say(f"{said}: {counted(done.parts, 'part')} in {out.rstrip('/')}/parts")
    show_verdicts(seen)
    if faults == done.images:
        raise DataError(
            f"images must hold at least one that can be read, got none of {done.images}. "
            "Each one's reason is in the column error."
        )
