"""Conditions by name: `light=0.8` is a photograph in 80 % of the light."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from muad.conditions.lens import blurred, dusty
from muad.conditions.light import lit, under_temperature
from muad.conditions.pose import shifted, turned
from muad.conditions.sensor import compressed, noisy
from muad.errors import ConfigError

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from muad.conditions.pose import Mask

    Image = UInt8[np.ndarray, "H W 3"]
    Work = Callable[[Image, Mask, float, np.random.Generator], tuple[Image, Mask]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of change.

    Attributes:
        name: What it is called.
        work: What it does to a photograph and its mask.
        usual: Strengths that are tried where none is named.
        least: Smallest strength.
        most: Largest strength.
        whole: Whether a strength is a whole number.
        words: What it is, with the strength as `{}`.
        of_photograph: Whether each photograph has a chance of its own; else all have the same.
    """

    name: str
    work: Work
    usual: tuple[float, ...]
    least: float
    most: float
    words: str
    whole: bool = False
    of_photograph: bool = True


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="light", usual=(0.8, 1.2), least=0.05, most=20, words="{} times the light",
            work=lambda image, mask, gain, _: (lit(image, gain), mask),
        ),
        Kind(
            name="temperature", usual=(5500, 7500), least=1500, most=25000, words="lamp of {} K in place of 6500 K",
            work=lambda image, mask, kelvin, _: (under_temperature(image, kelvin), mask),
        ),
        Kind(
            name="blur", usual=(1, 2), least=0.1, most=100, words="Gaussian blur, sigma {} px",
            work=lambda image, mask, sigma, _: (blurred(image, sigma), mask),
        ),
        Kind(
            name="noise", usual=(5,), least=0.1, most=128, words="noise of {} levels of 255",
            work=lambda image, mask, deviation, random: (noisy(image, deviation, random), mask),
        ),
        Kind(
            name="jpeg", usual=(50,), least=1, most=100, whole=True, words="JPEG of quality {}",
            work=lambda image, mask, quality, _: (compressed(image, int(quality)), mask),
        ),
        Kind(
            name="shift", usual=(4,), least=1, most=1000, words="moved by {} px",
            work=shifted,
        ),
        Kind(
            name="rotation", usual=(2,), least=0.1, most=180, words="turned by {} degrees",
            work=turned,
        ),
        Kind(
            name="dust", usual=(20,), least=1, most=10000, whole=True, of_photograph=False,
            words="{} specks of dust on the glass",
            work=lambda image, mask, specks, random: (dusty(image, int(specks), random), mask),
        ),
    )
}  # fmt: skip
UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Condition:
    """A change of a stated strength; without a kind, none at all.

    Attributes:
        kind: Name of a kind, or `unchanged`.
        strength: In the kind's own unit.
    """

    kind: str = UNCHANGED
    strength: float = 0.0

    @property
    def name(self) -> str:
        """As it is named on the command line, such as `light=0.8`."""
        return self.kind if self.kind == UNCHANGED else f"{self.kind}={self.strength:g}"

    @property
    def words(self) -> str:
        """What it is."""
        return "as photographed" if self.kind == UNCHANGED else KINDS[self.kind].words.format(f"{self.strength:g}")

    def apply(self, image: Image, mask: Mask, seed: int, photograph: str) -> tuple[Image, Mask]:
        """The photograph and its mask as they would be under this condition.

        Args:
            image: The photograph.
            mask: What is defect in it, or None.
            seed: Of all that is drawn.
            photograph: Its name; what is drawn for it depends on nothing else.
        """
        if self.kind == UNCHANGED:
            return image, mask
        kind = KINDS[self.kind]
        own = zlib.crc32(photograph.encode("utf-8", "surrogateescape")) if kind.of_photograph else 0
        random = np.random.default_rng([seed, zlib.crc32(self.kind.encode()), own])
        return kind.work(image, mask, self.strength, random)


def parse_conditions(names: Iterable[str]) -> tuple[Condition, ...]:
    """Conditions by name, each once, after the photographs as they are; of no names, those of every kind.

    Args:
        names: Such as `light`, for its usual strengths, or `light=0.9`.

    Raises:
        ConfigError: There is no such kind, or it has no such strength.
    """
    chosen = [condition for name in tuple(names) or tuple(KINDS) for condition in _named(name)]
    return tuple(dict.fromkeys((Condition(), *chosen)))


def _named(name: str) -> list[Condition]:
    word, given, strength = (part.strip() for part in name.partition("="))
    if word == UNCHANGED and not given:
        return []
    if word not in KINDS:
        raise ConfigError(f"condition must be one of {', '.join(KINDS)}, got {name!r}. Write light, or light=0.9.")
    kind = KINDS[word]
    if not given:
        return [Condition(word, float(value)) for value in kind.usual]
    try:
        value = float(strength)
    except ValueError:
        value = float("nan")
    if not kind.least <= value <= kind.most or (kind.whole and value != int(value)):
        number = "a whole number" if kind.whole else "a number"
        raise ConfigError(
            f"condition {word} must have {number} from {kind.least:g} to {kind.most:g}, got {strength!r}. It means: "
            f"{kind.words.format('X')}."
        )
    return [Condition(word, value)]
