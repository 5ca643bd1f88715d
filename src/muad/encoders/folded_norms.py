"""Batch norm taken into the convolutions before it: what a frozen CNN computes, in fewer operations."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_PROBE_PX = 64
_AGREES = 1e-4  # of the largest value; a norm that does not follow its convolution is off by far more


def folded(network: nn.Module) -> nn.Module:
    """A network of feature maps that gives the same in eval mode without its batch norms; else the network itself.

    Features differ by roundings, about one part in a million. A tenth to a third of the time on a processor is theirs.

    Args:
        network: In eval mode; images in, maps out. Whether every norm that stands behind a convolution also follows it
            is found out on one small image.
    """
    lighter = copy.deepcopy(network)
    for part in list(lighter.modules()):
        _fold_children(part)
    lighter = lighter.to(memory_format=torch.channels_last)
    images = torch.rand(1, 3, _PROBE_PX, _PROBE_PX, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pairs = zip(network(images), lighter(images), strict=True)
        agrees = all((found - wanted).abs().max() <= _AGREES * wanted.abs().max() for wanted, found in pairs)
    return lighter if agrees else network


def _fold_children(part: nn.Module) -> None:
    before: tuple[str, nn.Module] | None = None
    for name, child in list(part.named_children()):
        if before is not None and isinstance(child, nn.BatchNorm2d) and isinstance(before[1], nn.Conv2d):
            setattr(part, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(part, name, cast("nn.Module", getattr(child, "act", nn.Identity())))
        before = (name, child)
