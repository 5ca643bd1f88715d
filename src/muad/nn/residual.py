"""Residual stages of plain blocks, as ResNet-18 has them, at one size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm beside an identity, or beside a 1x1 convolution where widths differ.

    References:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        shortcut = [nn.Conv2d(inside, outside, 1, bias=False), nn.BatchNorm2d(outside)]
        self.downsample = nn.Identity() if inside == outside else nn.Sequential(*shortcut)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Maps of another width."""
        hidden = self.bn1(self.conv1(maps)).relu()
        restored: Tensor = self.bn2(self.conv2(hidden)) + self.downsample(maps)
        return restored.relu()


def residual_stage(inside: int, outside: int, blocks: int = 2) -> nn.Sequential:
    """Some blocks one after the other, initialised for ReLU by the width they give."""
    stage = nn.Sequential(*(BasicBlock(outside if number else inside, outside) for number in range(blocks)))
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return stage
