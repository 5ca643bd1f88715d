"""An EfficientNet read after whole stages of blocks, of which several have the same stride.

timm gives the last map of each stride; what the stages between see is worth reading too, for dense comparison most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

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

    def fold(self) -> None:
        """Take every batch norm into the convolution before it, for use in eval mode alone.

        A third of the time on a processor is theirs. Features differ by roundings, about one part in a million.
        """
        for part in list(self.modules()):
            before: tuple[str, nn.Module] | None = None
            for name, child in list(part.named_children()):
                if before is not None and isinstance(child, nn.BatchNorm2d) and isinstance(before[1], nn.Conv2d):
                    setattr(part, before[0], fuse_conv_bn_eval(before[1], child))
                    setattr(part, name, getattr(child, "act", nn.Identity()))
                before = (name, child)
        self.to(memory_format=torch.channels_last)
