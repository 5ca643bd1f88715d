"""A network one part of which runs again and again: other runtimes hold that part once, however often it runs."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Repeated(nn.Module):
    """From normalised images to named tensors, by way of a state that is changed in as many turns as there are rows.

    A detector whose `network()` is one is exported with a loop: its turn is traced once, not as often as it runs.

    Attributes:
        turns: Numbers that tell the turns apart, a row for each, in the order in which they run; on the network's
            device.
    """

    turns: Float[Tensor, "t n"]

    @abstractmethod
    def begin(self, images: Float[Tensor, "b 3 H W"]) -> tuple[Float[Tensor, "b ..."], Float[Tensor, "b ..."]]:
        """The state before the first turn, and what every turn reads beside it; both are made from the images."""

    @abstractmethod
    def turn(
        self, state: Float[Tensor, "b ..."], numbers: Float[Tensor, " n"], kept: Float[Tensor, "b ..."]
    ) -> Float[Tensor, "b ..."]:
        """The state after one turn, of the same shape."""

    @abstractmethod
    def end(self, state: Float[Tensor, "b ..."], images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """Named tensors of the last state."""

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> dict[str, Tensor]:
        """All of it."""
        state, kept = self.begin(images)
        for numbers in self.turns:
            state = self.turn(state, numbers, kept)
        return self.end(state, images)
