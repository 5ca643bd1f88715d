"""What may be chosen of an extension, with the reason for each default."""

from __future__ import annotations

from dataclasses import dataclass

from muad.acceleration.deviation import SHIFT_PART
from muad.errors import MOST_STEPS, ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionSettings:
    """How a run is extended.

    Attributes:
        bound: Part of the way from the usual score of good images to the limit by which a calibration image's score
            may move without its product's limits being set anew. 3 %: as far as a backend may be off before it is
            given limits of its own, less than a second photograph of the same part moves it.
        most_a_day: New images of a known product and day, where days are known (`words.csv` of a station). 20: a day
            has one light and one lot, and 20 photographs show it.
        most_a_product: New images of a product. 1,000: as many as are exported of a product's words.
        known_share: New images of a known product at most, as a multiple of those it was trained on. 0.5: what it
            learned before stays in the majority, so that one bad week is outvoted.
        least_known: So many new images of a known product may be taken in, however few it was trained on. 10.
        rehearsal: Share of each step's images, of a detector that learns by steps, that are old. 0.5: as many looks
            at what must stay as at what is new.
        steps: Of such a detector; 0 for a quarter of those it was trained for.
        take_suspicious: Take in new images that look suspicious as well.
    """

    bound: float = SHIFT_PART
    most_a_day: int = 20
    most_a_product: int = 1_000
    known_share: float = 0.5
    least_known: int = 10
    rehearsal: float = 0.5
    steps: int = 0
    take_suspicious: bool = False

    def __post_init__(self) -> None:
        for name in ("most_a_day", "most_a_product", "least_known"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 <= self.bound <= 1:
            raise ConfigError(f"bound must be from 0 to 1, got {self.bound}. Write 3 % as 0.03.")
        if not 0 <= self.known_share <= 100:
            raise ConfigError(f"known_share must be from 0 to 100, got {self.known_share}.")
        if not 0 < self.rehearsal < 1:
            raise ConfigError(f"rehearsal must be above 0 and below 1, got {self.rehearsal}. Write a half as 0.5.")
        if not 0 <= self.steps <= MOST_STEPS:
            raise ConfigError(f"steps must be from 0 to {MOST_STEPS}, got {self.steps}.")

    def most_of_known(self, trained: int) -> int:
        """How many new images of a product that was trained on so many are taken in."""
        return min(self.most_a_product, max(self.least_known, int(self.known_share * trained)))
