"""Where the object is in a photograph: masks that keep synthetic anomalies off the background.

The background is what has the colours of the image's border. Images without such a background, textures above all,
are foreground everywhere. Masks are found by the pixels of the preprocessed view: in a folder of them every file's name
ends in a digest of the view it belongs to, so that nothing but the image itself is needed to find its mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image

from muad.errors import ConfigError
from muad.images.reading import read_mask

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, UInt8
    from torch import Tensor

    from muad.images.preprocessing import Preprocessing
    from muad.types import Record

_FALSE_ALARM = 3.5  # standard deviations of the border's colour that still are background
_FAR = 20.0  # standard deviations from which on more do not count
_LEAST_DEVIATION = 3.0  # in Lab units: cameras and codecs have at least that much noise
_LEAST_SHARE, _MOST_SHARE = 0.02, 0.95  # of the image, for a believable object
_MOST_BORDER_SHARE = 0.35  # of the border that an object may cover, where the image cuts it off
_MOST_CROSSINGS = 12  # of outlines with the image's border; a pattern has more than an object that is cut off
_WHOLE_SHARE = 0.999  # of a mask in a folder, from which on it says that there is no background


@dataclass(frozen=True, slots=True, kw_only=True)
class ForegroundSummary:
    """What `write_foregrounds` found in one category.

    Attributes:
        category: Its name.
        images: Number of images.
        with_background: Number of those with a background apart from the object.
        mean_share: Mean share of the image that is foreground.
    """

    category: str
    images: int
    with_background: int
    mean_share: float


class _Found(NamedTuple):
    """The file a view's mask goes to, its height and width, and the mask eight pixels a byte; None: no background."""

    path: Path
    size: tuple[int, int]
    bits: UInt8[np.ndarray, " bytes"] | None


def foreground_mask(view: UInt8[np.ndarray, "H W 3"], *, grabcut: bool = False) -> Bool[np.ndarray, "H W"] | None:
    """The object in an RGB image, or None if nothing stands out from the border's colours.

    Args:
        view: Image of at least 32 px a side.
        grabcut: Refine the outline with GrabCut, which takes some 50 times as long.
    """
    distance, border = _distance_to_border(view)
    scaled = (np.clip(distance / _FAR, 0, 1) * 255).astype(np.uint8)
    otsu, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    # Otsu's threshold falls between two clusters, shadows on the near side; it must not split the background itself.
    mask = _tidy(distance > max(_FALSE_ALARM, otsu / 255 * _FAR))
    if not _believable(mask, border):
        return None
    if grabcut:
        refined = _tidy(_grabcut(view, mask))
        mask = refined if _believable(refined, border) else mask
    return mask


class Foregrounds:
    """Foreground masks of images, computed or from a folder, each once.

    Args:
        folder: Written by `write_foregrounds`; None to compute.

    Raises:
        ConfigError: No masks there.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._files: dict[str, Path] = {}
        self._known: dict[str, UInt8[np.ndarray, " bytes"] | None] = {}  # eight pixels a byte; None: no background
        if folder is not None:
            self._files = {path.stem.rpartition("-")[2]: path for path in sorted(folder.rglob("*.png"))}
            if not self._files:
                raise ConfigError(
                    f"detector.synthesis.foreground_dir must be a folder of masks, got {folder}. "
                    "Write it with `muad data foreground`."
                )

    def of(self, images: Float[Tensor, "b 3 H W"]) -> tuple[Float[Tensor, "b 1 H W"], list[bool]]:
        """Masks of 0 and 1, and whether each image has a background; all ones where it has none.

        Args:
            images: In [0, 1], not normalised.

        Raises:
            ConfigError: The folder has no mask for an image.
            DataError: A mask cannot be read.
        """
        views = (images.detach().permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()
        size = (images.shape[2], images.shape[3])
        found = [self._mask(view) for view in views]
        masks = [np.ones(size, np.uint8) if bits is None else _unpack(bits, size) for bits in found]
        stacked = torch.from_numpy(np.stack(masks))[:, None]
        return stacked.to(device=images.device, dtype=images.dtype), [bits is not None for bits in found]

    def _mask(self, view: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, " bytes"] | None:
        key = view_digest(view)
        if key not in self._known:
            mask = foreground_mask(view) if self.folder is None else self._read(key, view.shape[:2])
            self._known[key] = None if mask is None else np.packbits(mask)
        return self._known[key]

    def _read(self, key: str, size: tuple[int, ...]) -> Bool[np.ndarray, "H W"] | None:
        path = self._files.get(key)
        mask = None if path is None else read_mask(path, "grey") > 127
        if mask is None or mask.shape != size:
            raise ConfigError(
                f"detector.synthesis.foreground_dir must hold a mask of {size[0]}x{size[1]} px for every training "
                f"image, got {self.folder} without one for {key}. Write it anew with `muad data foreground`, "
                "at the same resize_px and crop_px."
            )
        return None if mask.mean() > _WHOLE_SHARE else mask


def write_foregrounds(
    records: Sequence[Record],
    preprocessing: Preprocessing,
    out: Path,
    *,
    grabcut: bool = True,
    source: Callable[[Record], Path] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ForegroundSummary, ...]:
    """Write the mask of every image as `out/CATEGORY/STEM-DIGEST.png`, to look at, mend and train with.

    Where most images of a category have no background, none has: a streak or stain that stands out of a texture is not
    an object.

    Args:
        records: Images.
        preprocessing: Of the detector that will use them.
        out: Created if need be.
        grabcut: Refine outlines.
        source: Tells the file of an existing mask of a record (of the photograph's size), to adopt it.
        progress: Called with the number of images done, and of all.

    Raises:
        DataError: An image or mask cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[_Found]] = {}
    for done, record in enumerate(records, 1):
        views = preprocessing.views(preprocessing.read(record.path), f"image {record.path}", record.category)
        drawn = None if source is None else source(record)
        given = None if drawn is None else preprocessing.cut(read_mask(drawn, "grey"), f"mask {drawn}")
        for index, view in enumerate(views):
            mask = foreground_mask(view, grabcut=grabcut) if given is None else given[index] > 127
            path = out / record.category / f"{record.path.stem}-{view_digest(view)}.png"
            bits = None if mask is None else np.packbits(mask)
            size = (view.shape[0], view.shape[1])
            found.setdefault(record.category, []).append(_Found(path, size, bits))
        if progress is not None:
            progress(done, len(records))
    return tuple(_write_category(category, found[category]) for category in sorted(found))


def _write_category(category: str, found: Sequence[_Found]) -> ForegroundSummary:
    """Write the masks of one category."""
    is_texture = 2 * sum(one.bits is not None for one in found) < len(found)
    shares = []
    for path, size, bits in found:
        mask = np.ones(size, np.uint8) if is_texture or bits is None else _unpack(bits, size)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask * 255).save(path)
        shares.append(float(mask.mean()))
    return ForegroundSummary(
        category=category,
        images=len(shares),
        with_background=sum(share <= _WHOLE_SHARE for share in shares),
        mean_share=float(np.mean(shares)),
    )


def view_digest(view: UInt8[np.ndarray, "H W 3"]) -> str:
    """Sixteen hexadecimal digits that stand for the pixels of a view."""
    return blake2b(np.ascontiguousarray(view).tobytes(), digest_size=8).hexdigest()


def _distance_to_border(
    view: UInt8[np.ndarray, "H W 3"],
) -> tuple[Float[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """How far every pixel's colour is from the border's, in standard deviations of it, and which pixels are border.

    The border's colour may drift linearly over the image, as it does under a lamp at one side.
    """
    height, width = view.shape[:2]
    smooth = cv2.GaussianBlur(view, (0, 0), max(0.5, min(height, width) / 256))
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB).astype(np.float32)
    rim = max(2, min(height, width) // 32)
    border = np.ones((height, width), bool)
    border[rim:-rim, rim:-rim] = False
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    basis = np.stack([np.ones_like(rows), rows, columns], axis=-1)
    kept = border.copy()
    deviation = np.full(3, _LEAST_DEVIATION, np.float32)
    residual = lab
    for _ in range(3):
        plane, *_ = np.linalg.lstsq(basis[kept], lab[kept], rcond=None)
        residual = lab - basis @ plane
        spread = 1.4826 * np.median(np.abs(residual[kept] - np.median(residual[kept], axis=0)), axis=0)
        deviation = np.maximum(spread, _LEAST_DEVIATION).astype(np.float32)
        # An object that is cut off by the border is not background: leave out what is far from the rest.
        near = np.sqrt(((residual / deviation) ** 2).sum(axis=2)) < _FALSE_ALARM
        kept = border & near if (border & near).sum() > border.sum() // 4 else border
    return np.sqrt(((residual / deviation) ** 2).sum(axis=2)), border


def _tidy(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Gaps closed, holes filled, specks removed."""
    side = max(3, min(mask.shape) // 40 | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    sizes = [cv2.contourArea(outline) for outline in outlines]
    large = [outline for outline, size in zip(outlines, sizes, strict=True) if size >= 0.1 * max(sizes)]
    filled = np.zeros_like(closed)
    cv2.drawContours(filled, large, -1, 1, thickness=cv2.FILLED)
    tidied: np.ndarray = filled.astype(bool)
    return tidied


def _believable(mask: Bool[np.ndarray, "H W"], border: Bool[np.ndarray, "H W"]) -> bool:
    """Whether a mask is that of an object before a background, and not part of a pattern that goes on at the border."""
    around = np.concatenate([mask[0], mask[:, -1], mask[-1, ::-1], mask[::-1, 0]])
    crossings = int((around != np.roll(around, 1)).sum())
    in_range = _LEAST_SHARE <= mask.mean() <= _MOST_SHARE
    return bool(in_range and mask[border].mean() <= _MOST_BORDER_SHARE and crossings <= _MOST_CROSSINGS)


def _grabcut(view: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    side = max(3, min(mask.shape) // 32 | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    core, reach = cv2.erode(mask.astype(np.uint8), kernel), cv2.dilate(mask.astype(np.uint8), kernel)
    labels = np.where(mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[core > 0], labels[reach == 0] = cv2.GC_FGD, cv2.GC_BGD
    if not core.any() or reach.all():
        return mask
    cv2.setRNGSeed(0)  # GrabCut starts from a random clustering
    bgr = cv2.cvtColor(view, cv2.COLOR_RGB2BGR)
    cv2.grabCut(bgr, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    refined: np.ndarray = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return refined


def _unpack(bits: UInt8[np.ndarray, " bytes"], size: tuple[int, int]) -> UInt8[np.ndarray, "H W"]:
    return np.unpackbits(bits, count=size[0] * size[1]).reshape(size)
