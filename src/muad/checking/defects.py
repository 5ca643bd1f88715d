"""How large defects are in the encoder's patches: what is smaller than about one is easily missed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from muad.advice.defect_sizes import enlargement
from muad.advice.sentences import LEAST_PATCHES
from muad.checking.findings import Finding
from muad.images.settings import ImagesConfig
from muad.images.tiling import magnification, tiles_for

if TYPE_CHECKING:
    from jaxtyping import Float

    from muad.checking.reading import Seen
    from muad.images.preprocessing import Preprocessing


def defects_in_patches(
    images: Sequence[Seen], preprocessing: Preprocessing, patch_px: int
) -> Float[np.ndarray, " defects"]:
    """Area of each separate defect in the masks of some images, in patches.

    Args:
        images: Anomalous images.
        preprocessing: How photographs become what the encoder sees.
        patch_px: Side of a patch.
    """
    return np.array(
        [area * enlargement(image.size, preprocessing) / patch_px**2 for image in images for area in image.defects_px]
    )


def small_defects(
    category: str, patches: Float[np.ndarray, " defects"], views: Preprocessing, photo_px: tuple[int, int]
) -> list[Finding]:
    """A finding if a fifth of the defects or more cover less than one patch, with the tiles that would help.

    Args:
        category: Whose defects.
        patches: Their areas, in patches.
        views: How photographs become what the encoder sees.
        photo_px: Height and width of the photographs.
    """
    below = int((patches < LEAST_PATCHES).sum())
    if below < 0.2 * len(patches) or not below:
        return []
    wanted = LEAST_PATCHES / float(np.quantile(patches, 0.2))
    height, width = views.resize_px
    overlap = views.tile_overlap or ImagesConfig().tile_overlap
    now = math.prod(magnification(count, overlap) for count in views.tiles)
    tiles = tiles_for(photo_px, views.resize_px, now * wanted, overlap)
    text = (
        f"{below} of {len(patches)} defects cover less than one patch at {height} x {width} px (median "
        f"{np.median(patches):.1f}, smallest {patches.min():.2f} patches) and are easily missed."
    )
    if tiles is None or math.prod(tiles) <= math.prod(views.tiles):
        text += f" Photographs of {photo_px[0]} x {photo_px[1]} px hold no more detail: photograph closer."
        return [Finding(kind="small_defects", category=category, images=(), text=text)]
    setting = f"images.tiles=[{tiles[0]},{tiles[1]}]"
    text += f" Cut into tiles they are large enough: --set {setting}, {math.prod(tiles)} times the time."
    return [Finding(kind="small_defects", category=category, images=(), text=text, settings=(setting,))]
