"""Where synthetic anomalies take their looks from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from muad.errors import ConfigError
from muad.images.loading import ViewCache
from muad.images.preprocessing import Preprocessing
from muad.images.reading import is_image_file
from muad.synthesis.procedural import procedural_textures

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Generator, Tensor

_CACHE_BYTES = 2**30  # DTD has 5640 images, which are 1.03 GiB at 256 px


class ProceduralTextures:
    """Textures computed from nothing."""

    def draw(
        self, generators: Sequence[Generator], size: tuple[int, int], device: torch.device
    ) -> Float[Tensor, "b 3 H W"]:
        """One texture in [0, 1] per generator."""
        return procedural_textures(generators, size, device)


class TextureFolder:
    """Photographs of textures in any depth of folders, such as the Describable Textures Dataset (DTD).

    Args:
        folder: Where they are.

    Raises:
        ConfigError: There are none.
    """

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(path for path in folder.rglob("*") if is_image_file(path)) if folder.is_dir() else []
        if not self.paths:
            raise ConfigError(
                f"detector.synthesis.texture_dir must be a folder with images in it, got {folder}. "
                "Name the images folder of DTD, or leave it out to have textures computed."
            )
        self._cache: ViewCache | None = None

    def draw(
        self, generators: Sequence[Generator], size: tuple[int, int], device: torch.device
    ) -> Float[Tensor, "b 3 H W"]:
        """One photograph in [0, 1] per generator, brought to `size` without keeping its aspect ratio.

        Raises:
            DataError: A photograph cannot be read.
        """
        # DEVIATION: shrunk with antialiasing, like every image here; the authors' resize has none.
        if self._cache is None or self._cache.preprocessing.resize_px != size:
            self._cache = ViewCache(Preprocessing(resize_px=size, crop_px=size), _CACHE_BYTES)
        chosen = [int(torch.randint(len(self.paths), (1,), generator=generator)) for generator in generators]
        views = np.concatenate([self._cache.views(self.paths[index]) for index in chosen])
        return torch.from_numpy(views).to(device).permute(0, 3, 1, 2).float() / 255
