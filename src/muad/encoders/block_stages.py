"""An EfficientNet read after whole stages of blocks, of which several have the same stride.

timm gives the last map of each stride; what the stages between see is worth reading too, for dense comparison most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class BlockStages(nn.Module):
    """The stem and the stages of blocks of an EfficientNet, under timm's names; later ones are left out.

    Args:
        network: timm's whole network; its parts are shared.
        stages: Stages, counted from 0, whose maps come out.
    """

    def __init__(self, network: Any, stages: tuple[int, ...]) -> None:  # noqa: ANN401  timm's EfficientNet
        super().__init__()
        self.conv_stem = network.conv_stem
        self.bn1 = network.bn1
        self.blocks = nn.Sequential(*list(network.blocks)[: stages[-1] + 1])
        self._stages = frozenset(stages)

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> list[Float[Tensor, "b c h w"]]:
        """Maps after the chosen stages, fine to coarse."""
        maps, found = self.bn1(self.conv_stem(images)), []
        for number, stage in enumerate(self.blocks):
            maps = stage(maps)
            if number in self._stages:
                found.append(maps)
        return found
