"""The recipe's table `[published]`: what the source of a recipe prints."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from muad.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Numbers a recipe should reproduce, as printed in its source, in [0, 1]; None where the source has none.

    Attributes:
        source: Where they are printed.
        data: The published data set they are for.
        image_auroc: Area under the ROC curve of the image scores, mean over the categories; so are the others.
        image_ap: Average precision of the image scores.
        image_f1_max: Largest F1 of the image scores.
        pixel_auroc: Area under the ROC curve of all pixels.
        pixel_ap: Average precision of the pixels.
        pixel_f1_max: Largest F1 of the pixels.
        pixel_aupro: Area under the per-region overlap curve.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    source: str = ""
    data: str = ""
    image_auroc: float | None = None
    image_ap: float | None = None
    image_f1_max: float | None = None
    pixel_auroc: float | None = None
    pixel_ap: float | None = None
    pixel_f1_max: float | None = None
    pixel_aupro: float | None = None

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, float) and not 0 <= value <= 1:
                raise ConfigError(f"published.{entry.name} must be from 0 to 1, got {value}. Divide percent by 100.")
