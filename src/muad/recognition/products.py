"""The products of a run: which one a photograph shows, when it shows none of them, and their two files."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import tomli_w
from safetensors import SafetensorError

from muad.decisions.conformal import images_needed, limit_rank, p_values
from muad.errors import CheckpointError
from muad.recognition.memory import Memory
from muad.runs.folder import write_text
from muad.runs.schema import ProductsFacts, check
from muad.runs.tensor_files import read_whole_arrays, write_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float

    from muad.recognition.appearance import Appearance

UNKNOWN_PRODUCT: Final = "unknown product"
"""What a photograph is recognised as that resembles no trained category."""
UNKNOWN_RATE = 0.02
"""Share of good photographs of a trained product that may be called unknown, unless `products.toml` says otherwise."""
ENCODER = "muad-tiny"
TENSORS_FILE, FACTS_FILE = "products.safetensors", "products.toml"
_FORMAT_VERSION = 2
_COARSEST_RATE = 0.05  # a limit that calls more good photographs unknown than this helps nobody
# Where other things begin: 2 in 1,000 photographs of them lie nearer than this to a product that does not look like
# them. No limit is beyond it. It belongs to the encoder's weights; `benchmarks/recognition.py` measures it.
_FOREIGN = 0.2
_TOWARDS = 0.75  # how far, on a logarithmic scale, a limit lies from a product's own distances towards _FOREIGN
_ALIKE = 0.05  # a limit that takes in more than this of another product's photographs is told of
_AND = " and "  # between the parts of a doubt
_EXPLANATION = """\
# What this run recognises products by. unknown_rate may be edited and holds from the next start on: the share of good
# photographs of a trained product that may be called "unknown product". 0: nothing is.
"""
_RELEARN = "Delete both files to do without, or learn them again with muad.learn_products."


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """What one photograph shows.

    Attributes:
        nearest: The trained category it resembles most, or the one it was said to show, if it may.
        p_value: Share of that category's remembered photographs that lie at least as far from the others, itself
            counted as one: small for what is unlike all of them.
        is_unknown: Whether it lies beyond the category's limit.
        distance: How far it lies from the category.
        limit: How far a photograph of the category may lie from it.
    """

    nearest: str
    p_value: float
    is_unknown: bool
    distance: float
    limit: float

    @property
    def category(self) -> str:
        """The nearest category, or `unknown product`."""
        return UNKNOWN_PRODUCT if self.is_unknown else self.nearest


class Products:
    """Remembered photographs of every category, and how far good ones lie from the others of theirs.

    A photograph belongs to the category it is nearest to, by plain distance: one divided by a category's spread would
    let the most varied product attract whatever comes. Every category has a limit of its own. It starts from the
    distances of its remembered photographs, each to the others, of which the rate asked for may lie beyond. Where that
    leaves room before other things begin, the limit is moved outwards, so that bad parts are still named; where it is
    beyond that place, the limit is taken back, and the product is known to be too varied to be recognised safely.

    Args:
        memories: By category, of at least two images each.
        own: By category, the distance of each of its images to the others. From `learn`.
        unknown_rate: Share of good photographs that may be called unknown; 0 calls none so.
        doubts: By category, in words, why it is not recognised safely; those that are, are left out.

    Attributes:
        memories: As given, names sorted.
        own: As given, rising.
        asked_rate: As given.
        doubts: As given.
        limits: By category; infinite where nothing is called unknown.

    Raises:
        CheckpointError: No category, too few images of one, or a rate out of range.
    """

    def __init__(
        self,
        memories: Mapping[str, Memory],
        own: Mapping[str, Float[np.ndarray, " n"]],
        unknown_rate: float = UNKNOWN_RATE,
        doubts: Mapping[str, str] | None = None,
    ) -> None:
        if isinstance(unknown_rate, bool) or not 0 <= unknown_rate <= _COARSEST_RATE:
            raise CheckpointError(
                f"unknown_rate in {FACTS_FILE} must be from 0 to {_COARSEST_RATE}, got {unknown_rate!r}."
            )
        require_images(memories)
        self.memories = {name: memories[name] for name in sorted(memories)}
        self.asked_rate = unknown_rate
        self.doubts = dict(doubts or {})
        self.own = {name: np.sort(own[name]) for name in self.memories}
        self.limits = {name: _limit(distances, unknown_rate) for name, distances in self.own.items()}

    @classmethod
    def learn(cls, seen: Mapping[str, Appearance], copies: int, unknown_rate: float = UNKNOWN_RATE) -> Self:
        """From good photographs of every category.

        Args:
            seen: By category: all copies of the first photograph, of the second, and so on.
            copies: How many of each; the first is the photograph as it is.
            unknown_rate: Share of good photographs that may be called unknown; 0 calls none so.

        Raises:
            CheckpointError: No category, too few images of one, or a rate out of range.
        """
        require_images({name: range(len(each) // copies) for name, each in seen.items()})
        memories = {name: Memory.of(each, copies) for name, each in seen.items()}
        plain = {name: each[::copies] for name, each in seen.items()}
        own = {name: memory.own_distances(plain[name]) for name, memory in memories.items()}
        found = cls(memories, own, unknown_rate)
        found.doubts = {name: doubt for name in found.categories if (doubt := found._doubt(name, plain))}
        return found

    def joined(self, seen: Mapping[str, Appearance], copies: int) -> Self:
        """These products with others beside them, or in the place of those of the same name; the rest stay as they are.

        What products take in of each other is told for the new ones; of those that were there before, from what is
        remembered of them.

        Args:
            seen: As for `learn`.
            copies: How many of each photograph.

        Raises:
            CheckpointError: Too few images of one.
        """
        require_images({name: range(len(each) // copies) for name, each in seen.items()})
        learned = {name: Memory.of(each, copies) for name, each in seen.items()}
        plain = {name: each[::copies] for name, each in seen.items()}
        own = {name: memory.own_distances(plain[name]) for name, memory in learned.items()}
        found = type(self)({**self.memories, **learned}, {**self.own, **own}, self.asked_rate)
        known = {name: memory.as_seen() for name, memory in self.memories.items()}
        for name in found.categories:
            before = [] if name in seen else [_without_other(self.doubts.get(name, ""), tuple(seen))]
            said = found._doubt(name, {**known, **plain}) if name in seen else found._taken_in(name, plain)
            found.doubts[name] = _AND.join(filter(None, [*before, said]))
        found.doubts = {name: doubt for name, doubt in found.doubts.items() if doubt}
        return found

    def without(self, name: str) -> Self:
        """These products without one of them, of which nothing is left.

        Raises:
            CheckpointError: It was the only one.
        """
        left = [other for other in self.categories if other != name]
        doubts = {other: _without_other(self.doubts.get(other, ""), (name,)) for other in left}
        return type(self)(
            {other: self.memories[other] for other in left},
            {other: self.own[other] for other in left},
            self.asked_rate,
            {other: doubt for other, doubt in doubts.items() if doubt},
        )

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, sorted."""
        return tuple(self.memories)

    def distances(self, seen: Appearance) -> Float[np.ndarray, "b categories"]:
        """Of photographs to every category, in the order of `categories`."""
        return np.stack([memory.distances(seen) for memory in self.memories.values()], axis=1)

    def recognise(self, seen: Appearance, given: Sequence[str | None] = ()) -> list[Recognition]:
        """What photographs show.

        Args:
            seen: What they look like.
            given: What each is said to show, if it is said; that is believed of a photograph within the category's
                limit, also where another, which looks alike, is nearer.
        """
        return self.named(self.distances(seen), given)

    def named(
        self, distances: Float[np.ndarray, "b categories"], given: Sequence[str | None] = ()
    ) -> list[Recognition]:
        """What photographs at these distances show."""
        said = given or [None] * len(distances)
        return [self._named(row, name) for row, name in zip(distances, said, strict=True)]

    def describe(self) -> str:
        """One sentence on what is promised, what is missing for the rate asked for, and which product is in doubt."""
        counts = {name: len(memory) for name, memory in self.memories.items()}
        many = f"{len(counts)} categories are" if len(counts) > 1 else "1 category is"
        said = f"products: {many} recognised from {sum(counts.values())} good images"
        if not self.asked_rate:
            return f"{said}, none is called unknown"
        least, fewest = images_needed(_COARSEST_RATE), min(counts, key=lambda name: counts[name])
        if counts[fewest] < least:
            said += f" (how often good ones are called unknown is known from {least} images of each, "
            said += f"got {counts[fewest]} of {fewest})"
        else:
            rate = max(self.asked_rate, 1 / (counts[fewest] + 1))
            said += f", at most {100 * rate:.2g} % of images like them are called unknown"
        return "; ".join([said, *(f"{name} {doubt}" for name, doubt in self.doubts.items())])

    def save(self, run: Path, fingerprint: str) -> None:
        """Write both files into a run folder; the readable one last, because a run that has it recognises.

        Raises:
            CheckpointError: The disk is full or the folder not writable.
        """
        draft = run / f"{TENSORS_FILE}.partial"
        arrays = {}
        for name, memory in self.memories.items():
            arrays[f"{name}.whole"] = memory.whole.astype(np.float16)
            arrays[f"{name}.patches"] = memory.patches.astype(np.float16)
            arrays[f"{name}.colours"] = memory.colours.astype(np.float16)
            arrays[f"{name}.distances"] = self.own[name].astype(np.float64)
        try:
            digest = write_arrays(arrays, draft)
            draft.replace(run / TENSORS_FILE)
        except (OSError, SafetensorError) as error:
            draft.unlink(missing_ok=True)
            raise CheckpointError(f"{TENSORS_FILE} must be writable in {run}, got {error}. Free disk space.") from None
        facts = {
            "unknown_rate": self.asked_rate,
            "format_version": _FORMAT_VERSION,
            "encoder": ENCODER,
            "encoder_fingerprint": fingerprint,
            "tensors_digest": digest,
            "images": {name: len(memory) for name, memory in self.memories.items()},
            "doubts": self.doubts,
        }
        write_text(run / FACTS_FILE, _EXPLANATION + tomli_w.dumps(facts))

    @classmethod
    def load(cls, run: Path, fingerprint: str) -> Self:
        """The products of a run folder.

        Args:
            run: Run folder with both files.
            fingerprint: Of the encoder at hand.

        Raises:
            CheckpointError: A file cannot be read, a rate is out of range, or they were learned with another encoder.
        """
        facts = read_facts(run)
        if facts.encoder_fingerprint != fingerprint:
            raise CheckpointError(
                f"products must be learned with this release's {ENCODER} ({fingerprint[:12]}), got "
                f"{facts.encoder_fingerprint[:12]} in {run / FACTS_FILE}. {_RELEARN}"
            )
        arrays = read_whole_arrays(run / TENSORS_FILE, facts.tensors_digest, _RELEARN)
        names = [name.removesuffix(".whole") for name in arrays if name.endswith(".whole")]
        try:
            memories = {
                name: Memory(*(arrays[f"{name}.{part}"].astype(np.float32) for part in ("whole", "patches", "colours")))
                for name in names
            }
            own = {name: arrays[f"{name}.distances"] for name in names}
        except KeyError as error:
            raise CheckpointError(f"{TENSORS_FILE} must hold {error}, got {run} without it. {_RELEARN}") from None
        parts = [(memory.whole, memory.patches, memory.colours) for memory in memories.values()]
        fits = all(len(part) == len(of_one[0]) and part.ndim == 3 for of_one in parts for part in of_one)
        lengths = {tuple(part.shape[-1] for part in of_one) for of_one in parts} if fits else ()
        if len(lengths) != 1 or any(len(own[name]) != len(memories[name]) for name in names):
            raise CheckpointError(
                f"{TENSORS_FILE} must hold as many features of one length for each product, got other shapes in {run}. "
                f"{_RELEARN}"
            )
        return cls(memories, own, facts.unknown_rate, facts.doubts)

    def _named(self, distances: Float[np.ndarray, " categories"], given: str | None) -> Recognition:
        place = int(distances.argmin())
        if given in self.limits and distances[self.categories.index(given)] <= self.limits[given]:
            place = self.categories.index(given)
        name, distance = self.categories[place], float(distances[place])
        return Recognition(
            nearest=name,
            p_value=float(p_values(distances[place : place + 1], self.own[name])[0]),
            is_unknown=distance > self.limits[name],
            distance=distance,
            limit=self.limits[name],
        )

    def _doubt(self, name: str, plain: Mapping[str, Appearance]) -> str:
        """Why a category is not recognised safely, in words; empty if it is."""
        limit, said = self.limits[name], []
        beyond = float(np.mean(self.own[name] > limit))
        if _own_limit(self.own[name], self.asked_rate) > limit:
            said.append(
                f"varies too much to be recognised safely: {100 * beyond:.0f} % of its good images lie beyond the "
                "limit that keeps other things out"
            )
        return _AND.join(filter(None, [*said, self._taken_in(name, plain)]))

    def _taken_in(self, name: str, plain: Mapping[str, Appearance]) -> str:
        """Which other products the limit of a category takes in, in words; empty if none."""
        said = []
        for other, seen in plain.items():
            share = float(np.mean(self.memories[name].distances(seen) <= self.limits[name])) if other != name else 0.0
            if share > _ALIKE:
                said.append(f"has a limit that takes in {100 * share:.0f} % of the images of {other}")
        return _AND.join(said)


def _without_other(doubt: str, others: Sequence[str]) -> str:
    """A doubt without what is said in it of other products."""
    parts = doubt.split(_AND)
    return _AND.join(part for part in parts if not any(part.endswith(f" of the images of {name}") for name in others))


def read_facts(run: Path) -> ProductsFacts:
    """What `products.toml` of a run says.

    Raises:
        CheckpointError: It cannot be read, or says something else.
    """
    path = run / FACTS_FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{FACTS_FILE} must be readable, got {path} ({error}). {_RELEARN}") from None
    return check(path, values, ProductsFacts, _RELEARN)


def is_outdated(facts: ProductsFacts) -> bool:
    """Whether they were learned by a release that could not tell strangers from products."""
    return facts.format_version < _FORMAT_VERSION


def require_images(images: Mapping[str, Memory | range]) -> None:
    """Refuse products without two images each.

    Raises:
        CheckpointError: There is none, or too few images of one.
    """
    few = [name for name, own in images.items() if len(own) < 2]
    if few or not images:
        raise CheckpointError(f"products must have at least 2 images each, got fewer of {', '.join(few) or 'all'}.")


def _limit(own: Float[np.ndarray, " n"], rate: float) -> float:
    """How far a photograph of a category may lie from it, from the distances of its own ones, rising."""
    if not rate:
        return float("inf")
    inner = _own_limit(own, rate)
    # From so few images, the farthest says nothing of how far others may lie.
    few = len(own) < images_needed(_COARSEST_RATE)
    return _FOREIGN if few or inner >= _FOREIGN else float(inner ** (1 - _TOWARDS) * _FOREIGN**_TOWARDS)


def _own_limit(own: Float[np.ndarray, " n"], rate: float) -> float:
    """The conformal limit of these rising distances, or the farthest of them where they are too few for the rate."""
    return float(own[(limit_rank(len(own), rate) or len(own)) - 1]) if rate else float("inf")
