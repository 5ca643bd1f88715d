"""Residual stages are torchvision's blocks, at one size."""

import torch
from torchvision.models.resnet import BasicBlock as Torchvisions

from muad.nn.residual import BasicBlock, residual_stage


def test_a_block_is_torchvisions() -> None:
    torch.manual_seed(0)
    for inside, outside in ((4, 4), (4, 6)):
        ours = BasicBlock(inside, outside)
        shortcut = None if inside == outside else torch.nn.Sequential(*ours.downsample.children())
        theirs = Torchvisions(inside, outside, downsample=shortcut)
        theirs.load_state_dict(ours.state_dict())
        maps = torch.randn(2, inside, 5, 4)
        assert torch.allclose(ours(maps), theirs(maps), atol=1e-6)


def test_a_stage_widens_once() -> None:
    stage = residual_stage(3, 5, blocks=3)
    assert stage(torch.zeros(1, 3, 4, 4)).shape == (1, 5, 4, 4)
    assert [block.conv1.in_channels for block in stage] == [3, 5, 5]
