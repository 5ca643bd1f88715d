"""Which patches of a memory are of which product: they lie product after product, so counts say it all.

In a checkpoint this is one tensor of bytes, `[["bolt", 2000], ["cap", 1980]]` as UTF-8, because names are no numbers. A
memory of an older release has none: all its patches are then of nobody known.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

import torch
from safetensors import safe_open

from muad.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import UInt8
    from torch import Tensor

_TENSOR = "shares"
_NOBODY = ""
"""The name of a share of which it is not known, or has no meaning, whose it is."""


class MemoryShares:
    """The shares of products in a memory, in the order in which they lie there.

    Attributes:
        tensor: The same as bytes, for a checkpoint; without any while nothing was said of any share.
    """

    def __init__(self) -> None:
        self.tensor: UInt8[Tensor, " n"] = torch.empty(0, dtype=torch.uint8)
        self._unknown = 0

    @classmethod
    def room(cls, shape: torch.Size | None, rows: int) -> Self:
        """Room for what a checkpoint says of its memory.

        Args:
            shape: Of its tensor; None for a memory of an older release.
            rows: Patches of that memory.
        """
        found = cls()
        found.tensor = torch.zeros(0 if shape is None else shape.numel(), dtype=torch.uint8)
        found._unknown = rows if shape is None else 0
        return found

    @classmethod
    def read(cls, weights: Path) -> Self:
        """What a checkpoint's file says, without reading the memory; nothing where it does not say."""
        found = cls()
        with safe_open(weights, "pt") as file:
            if _TENSOR in file.keys():  # noqa: SIM118  the file is no mapping
                found.tensor = file.get_tensor(_TENSOR)
        return found

    @property
    def named(self) -> dict[str, int]:
        """Patches of each product that is known."""
        return {name: count for name, count in self._counts if name != _NOBODY}

    def rows_of(self, product: str) -> slice:
        """Where the patches of a product lie; of a new one an empty place at the end."""
        begin = 0
        for name, count in self._counts:
            if name == product:
                return slice(begin, begin + count)
            begin += count
        return slice(begin, begin)

    def set(self, product: str, count: int) -> None:
        """A product has so many patches from now on, where `rows_of` said."""
        self._write([*self._counts, (product, count)] if product not in dict(self._counts) else
                    [(name, count if name == product else before) for name, before in self._counts])  # fmt: skip

    def drop(self, product: str) -> None:
        """Those of a product are gone."""
        self._write([(name, count) for name, count in self._counts if name != product])

    def _write(self, counts: list[tuple[str, int]]) -> None:
        text = json.dumps(counts, ensure_ascii=False)
        self.tensor = torch.tensor(list(text.encode()), dtype=torch.uint8)
        self._unknown = 0

    @property
    def _counts(self) -> list[tuple[str, int]]:
        if not len(self.tensor):
            return [(_NOBODY, self._unknown)] if self._unknown else []
        try:
            return [(str(name), int(count)) for name, count in json.loads(bytes(self.tensor.tolist()).decode())]
        except (ValueError, TypeError) as error:
            raise CheckpointError(
                f"shares of the memory must be pairs of product and number, got {error}. Restore the checkpoint."
            ) from None
