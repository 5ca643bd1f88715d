"""A bundle's network as a scorer: sessions, what is computed from their outputs, and the head, all in plain arrays."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from muad.bundles.archive import BundleError
from muad.errors import LARGEST_PX, ConfigError
from muad.runs.faults import constraint_of
from muad.runtime import heads
from muad.runtime.views import ViewScores

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, UInt8

    from muad.bundles.manifest import CombineFacts, HeadFacts, NetworkFacts
    from muad.images.preprocessing import Preprocessing
    from muad.runtime.heads import Head
    from muad.runtime.sessions import Session

_EPS = np.float32(1e-8)
_REMEDY = "Export it again."


class NetworkScorer:
    """Scores views by sessions that run one after the other.

    Args:
        sessions: Each one's outputs are the next one's inputs.
        facts: What they are, and what is made of what they give.
        preprocessing: How photographs become the views they take.
        at_once: Whether views go through together, where the network takes any number, or one by one.

    Raises:
        BundleError: Its head is none of this release.
    """

    def __init__(
        self, sessions: Sequence[Session], facts: NetworkFacts, preprocessing: Preprocessing, *, at_once: bool = False
    ) -> None:
        self.preprocessing = preprocessing
        self._sessions, self._facts = tuple(sessions), facts
        self._head = head_of(facts.head)
        self._at_once = at_once and facts.batch == "dynamic"
        grids: tuple[str, ...] = getattr(self._head, "grids", ())
        self._grid: str | None = grids[0] if len(grids) == 1 and not getattr(self._head, "score_tensor", "") else None

    def score_views(self, views: UInt8[np.ndarray, "b H W c"], categories: Sequence[str | None]) -> ViewScores:  # noqa: ARG002
        """Maps and scores of views; what they show plays no part.

        Raises:
            BundleError: The network gives something else than its manifest says.
        """
        return self.score_images(self.preprocessing.normalise(views))

    def score_images(self, images: Float[np.ndarray, "b c H W"]) -> ViewScores:
        """The same of normalised views."""
        groups = [images] if self._at_once else [images[place : place + 1] for place in range(len(images))]
        tensors = [self._tensors(group) for group in groups]
        together = {name: np.concatenate([each[name] for each in tensors]) for name in tensors[0]}
        try:
            maps, scores = self._head(together)
        except (KeyError, ValueError, IndexError, TypeError, ConfigError) as error:
            raise BundleError(f"network must give what its head reads, got {error!r:.200}. {_REMEDY}") from None
        if maps.shape != (len(images), *self._facts.map_px) or scores.shape != (len(images),):
            raise BundleError(f"maps must be {list(self._facts.map_px)}, got {list(maps.shape[1:])}. {_REMEDY}")
        if not np.isfinite(scores).all():  # would pass every limit
            raise BundleError(f"scores must be finite, got others from the network. {_REMEDY}")
        return ViewScores(maps=maps, scores=scores, grids=None if self._grid is None else together[self._grid])

    def score_maps(self, maps: Float[np.ndarray, "b h w"], inspected: Bool[np.ndarray, "b h w"]) -> np.ndarray:
        """Scores from the part of maps that counts."""
        return self._head.score(maps, inspected)

    def expand_grids(self, grids: Float[np.ndarray, "b m n"]) -> Float[np.ndarray, "b h w"]:
        """The maps of grids."""
        if self._grid is None:
            raise NotImplementedError("this head gives no grids with its scores")
        return self._head({self._grid: grids})[0]

    def _tensors(self, images: Float[np.ndarray, "b 3 H W"]) -> Mapping[str, np.ndarray]:
        """What the head reads, of some images."""
        passed: list[np.ndarray] = [images]
        for session in self._sessions:
            passed = session(passed)
        names, combine = self._facts.outputs, self._facts.combine
        if len(passed) != len(names) or any(len(tensor) != len(images) for tensor in passed):
            raise BundleError(f"network must give {', '.join(names)} of each image, got other outputs. {_REMEDY}")
        tensors = dict(zip(names, passed, strict=True))
        return tensors if combine is None else {**tensors, combine.name: _combined(tensors, combine)}


def head_of(facts: HeadFacts) -> Head:
    """A head of `runtime.heads` by its name and settings.

    Raises:
        BundleError: There is none of that name, or it has no such settings.
    """
    kind: Any = getattr(heads, facts.kind, None)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind) and hasattr(kind, "score")):
        raise BundleError(f"head must be one that this release has, got {facts.kind!r:.60}. Use a newer release.")
    known = {entry.name for entry in dataclasses.fields(kind)}
    foreign = next((name for name in facts.settings if name not in known), None)
    if foreign is not None:
        raise BundleError(f"head {facts.kind} must have only settings of this release, got {foreign!r:.60}.")
    numbers = [
        number for value in facts.settings.values() for number in (value if isinstance(value, list) else [value])
    ]
    if any(isinstance(number, int | float) and abs(number) > LARGEST_PX for number in numbers):
        raise BundleError(f"settings of head {facts.kind} must be at most {LARGEST_PX}, got more. {_REMEDY}")
    try:
        # As JSON, because only there a strict check takes lists for tuples.
        made: Head = TypeAdapter(kind).validate_json(json.dumps(facts.settings), strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
    else:
        return made
    where = ".".join(map(str, fault["loc"]))
    raise BundleError(f"head {facts.kind}: {where} must be {constraint_of(fault)}, got another. {_REMEDY}")


def _combined(tensors: Mapping[str, np.ndarray], combine: CombineFacts) -> Float[np.ndarray, "b h w"]:
    """The mean cosine distance of the pairs of outputs, in float32."""
    total: np.ndarray | None = None
    for number in range(combine.outputs):
        try:
            first, second = (
                tensors[f"{side}_{number}"].astype(np.float32, copy=False) for side in ("encoded", "decoded")
            )
            distance = np.float32(1) - _cosine(first, second)
        except (KeyError, ValueError) as error:
            raise BundleError(f"network must give pairs of features, got {error!r:.200}. {_REMEDY}") from None
        total = distance if total is None else total + distance
    cells = combine.grid[0] * combine.grid[1]
    if total is None or total.ndim != 2 or total.shape[1] != cells:
        raise BundleError(f"features must be of {cells} places, got others. {_REMEDY}")
    grids: np.ndarray = (total / np.float32(combine.outputs)).reshape(-1, *combine.grid)
    return grids


def _cosine(first: Float[np.ndarray, "b n d"], second: Float[np.ndarray, "b n d"]) -> Float[np.ndarray, "b n"]:
    products, lengths = np.einsum("bnd,bnd->bn", first, second), np.ones((), np.float32)
    for features in (first, second):
        lengths = lengths * np.maximum(np.sqrt(np.einsum("bnd,bnd->bn", features, features)), _EPS)
    with np.errstate(all="ignore"):  # what is no number is refused with the scores
        cosines: np.ndarray = products / lengths
    return cosines
