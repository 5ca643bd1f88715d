"""What one does before training DiffusionAD: write foreground masks, and look at synthetic anomalies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from PIL import Image

from muad.configuration.run_config import load_config
from muad.datasets.index import open_catalog
from muad.detectors import DiffusionAdConfig
from muad.device import choose_device
from muad.errors import ConfigError, DataError
from muad.images.preprocessing import Preprocessing
from muad.images.reading import read_image
from muad.outputs import draw_overlay
from muad.synthesis import Synthesis
from muad.synthesis.foreground import ForegroundSummary, write_foregrounds
from muad.training.choose import adapt_config

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from muad.types import Catalog, Record

_CELL_PX = 112
_TITLE_PX = 18
_GAP_PX = 4
_ASKED = "detector.name=diffusion_ad"


def write_foreground_masks(
    data: Path,
    out: Path,
    *,
    recipe: str | Path | None = None,
    overrides: Iterable[str] = (),
    layout: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[DiffusionAdConfig, tuple[ForegroundSummary, ...]]:
    """Write a mask of the object in every training image, to look at, mend, and train with.

    Args:
        data: Data set.
        out: Folder to write, the `detector.synthesis.foreground_dir` of the training.
        recipe: What will be trained: name or TOML file; None for the settings that training would choose.
        overrides: `section.key=value` settings on top.
        layout: How the data lie on disk.
        progress: Called with the number of images done, and of all.

    Returns:
        The detector's configuration, whose size the masks have, and what was found in every category.

    Raises:
        ConfigError: Settings of another detector.
        DataError: An image cannot be read, or the folder cannot be written.
    """
    catalog = open_catalog(data, layout)
    config = _configure(catalog, recipe, overrides)
    records = catalog.select(split="train")
    try:
        return config, write_foregrounds(records, _preprocessing(config), out, progress=progress)
    except OSError as error:
        raise DataError(f"output folder must be writable, got {out} ({error}). Name another.") from None


def preview_synthesis(
    data: Path,
    out: Path,
    *,
    recipe: str | Path | None = None,
    overrides: Iterable[str] = (),
    layout: str = "auto",
    seed: int = 0,
) -> None:
    """Draw a sheet with a row per category: original, mask, synthetic anomaly and overlay of three images.

    Args:
        data: Data set.
        out: Picture to write.
        recipe: What will be trained: name or TOML file; None for the settings that training would choose.
        overrides: `section.key=value` settings on top.
        layout: How the data lie on disk.
        seed: Of the anomalies.

    Raises:
        ConfigError: Settings of another detector, or a picture of a kind that cannot be written.
        DataError: An image cannot be read, or the picture cannot be written.
    """
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ConfigError(f"picture must end in .png or .jpg, got {out.name}.")
    catalog = open_catalog(data, layout)
    config = _configure(catalog, recipe, [*overrides, "detector.synthesis.probability=1.0"])
    synthesis, preprocessing = Synthesis(config.synthesis), _preprocessing(config)
    rows = []
    for number, category in enumerate(catalog.categories):
        records = catalog.select(category=category, split="train")
        chosen = records[:: max(1, len(records) // 3)][:3]
        rows.append(_title(category, 3))
        rows.append(_examples(chosen, preprocessing, synthesis, seed + 3 * number))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate(rows)).save(out)
    except OSError as error:
        raise DataError(f"picture must be writable, got {out} ({error}). Name another.") from None


def _configure(catalog: Catalog, recipe: str | Path | None, overrides: Iterable[str]) -> DiffusionAdConfig:
    if recipe is None:
        config = adapt_config(catalog, choose_device("auto"), [_ASKED, *overrides])
    else:
        config = load_config(recipe, overrides)
    if not isinstance(config.detector, DiffusionAdConfig):
        raise ConfigError(
            f"detector.name must be diffusion_ad, which alone draws anomalies, got {config.detector.name}. "
            "Name a recipe of it, or none."
        )
    return config.detector


def _preprocessing(config: DiffusionAdConfig) -> Preprocessing:
    return Preprocessing(resize_px=config.resize_px, crop_px=config.crop_px, mean=(0.0,) * 3, std=(1.0,) * 3)


def _examples(
    records: Sequence[Record], preprocessing: Preprocessing, synthesis: Synthesis, seed: int
) -> UInt8[np.ndarray, "H W 3"]:
    """Three images side by side, each as original, mask, synthetic anomaly and overlay; white where there are fewer."""
    views = np.stack([preprocessing.view(read_image(record.path), f"image {record.path}") for record in records])
    seeds = tuple(seed + number for number in range(len(records)))
    made = synthesis(torch.from_numpy(preprocessing.normalise(views)), seeds, [record.category for record in records])
    anomalous = (made.images.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    masks = made.masks[:, 0].numpy()
    groups = []
    for view, mask, image in zip(views, masks, anomalous, strict=True):
        grey = np.repeat((mask * 255).astype(np.uint8)[..., None], 3, axis=2)
        cells = [_cell(picture) for picture in (view, grey, image, draw_overlay(image, mask, (0.0, 1.0)))]
        groups.append(np.pad(np.concatenate(cells, axis=1), ((0, _GAP_PX), (0, _GAP_PX), (0, 0)), constant_values=255))
    groups += [np.full_like(groups[0], 255)] * (3 - len(groups))
    return np.concatenate(groups, axis=1)


def _cell(picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.asarray(Image.fromarray(picture).resize((_CELL_PX, _CELL_PX), Image.Resampling.BILINEAR))


def _title(text: str, groups: int) -> UInt8[np.ndarray, "h w 3"]:
    strip = np.full((_TITLE_PX, groups * (4 * _CELL_PX + _GAP_PX), 3), 255, np.uint8)
    cv2.putText(strip, text, (2, _TITLE_PX - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return strip
