"""What is learned: two objectives over two views of every image, each a module that returns its named losses."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from network import REGISTERS, WIDTH, Trunk
from torch import Tensor, nn
from views import Views

PREFIX = 1 + REGISTERS
# Blocks averaged before the loss, 0-based: Dinomaly's two groups, and the last block (normalised).
LEVELS = {"low": (2, 3, 4, 5), "high": (6, 7, 8, 9), "last": (12,)}


def _corner(trunk: Trunk, views: Views, rng: torch.Generator) -> tuple[int, int]:
    room = trunk.grid - views.a_in_b.shape[1] + 1
    row, column = torch.randint(0, room, (2,), generator=rng).tolist()
    return row, column


class Projection(nn.Sequential):
    """Two layers on top of normalised features, to the unit sphere."""

    def __init__(self, out: int) -> None:
        super().__init__(
            nn.LayerNorm(WIDTH, elementwise_affine=False),
            nn.Linear(WIDTH, 2 * WIDTH),
            nn.GELU(),
            nn.Linear(2 * WIDTH, out),
        )


def _as_map(tokens: Tensor) -> Tensor:
    side = round((tokens.shape[1]) ** 0.5)
    return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)


class DenseContrast(nn.Module):
    """The same place in two views must match; every other place, of this image or another, must differ.

    InfoNCE over patches at three depths, with keys read bilinearly where the query's centre lies in the other view,
    and over the class tokens of the images.

    Args:
        trunk: The network.
        temperature: Of the patch softmax.
        near_patches: Places of the same image nearer than this (in patches) are neither positive nor negative.
        raw_weight: Weight of the same loss on the tapped features themselves (measured: no gain).
        global_weight: Weight of the class token's loss.
    """

    def __init__(
        self, trunk: Trunk, temperature: float, near_patches: float, raw_weight: float, global_weight: float
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.temperature = temperature
        self.near_patches = near_patches
        self.raw_weight = raw_weight
        self.global_weight = global_weight
        # Hidden patches belong to the other objective; a parameter without gradient would stall several processes.
        trunk.mask_token.requires_grad_(False)
        self.heads = nn.ModuleDict({name: Projection(128) for name in LEVELS})
        self.global_head = Projection(128)

    def forward(self, views: Views, step: int, rng: torch.Generator) -> dict[str, Tensor]:  # noqa: ARG002
        """Named losses of one batch."""
        both = torch.cat([views.a, views.b])
        outputs = self.trunk(both, _corner(self.trunk, views, rng), None)
        losses = {}
        for name, blocks in LEVELS.items():
            fused = torch.stack([outputs[i] for i in blocks]).mean(0)
            losses[name] = self._both_ways(self.heads[name](fused[:, PREFIX:]).float(), views)
            if name != "last" and self.raw_weight:
                losses[f"{name}_raw"] = self.raw_weight * self._both_ways(fused[:, PREFIX:].float(), views)
        cls = F.normalize(self.global_head(outputs[-1][:, 0]).float(), dim=-1)
        losses["image"] = self.global_weight * self._images(cls)
        return losses

    def after_step(self, step: int) -> None:
        """Nothing: there is no teacher."""

    def _both_ways(self, patches: Tensor, views: Views) -> Tensor:
        a, b = patches.chunk(2)
        return (self._patches(a, b, views.a_in_b) + self._patches(b, a, views.b_in_a)) / 2

    def _patches(self, queries: Tensor, keys: Tensor, place: Tensor) -> Tensor:
        side = place.shape[1]
        keys = F.grid_sample(_as_map(keys), place, align_corners=False).flatten(2).transpose(1, 2)
        seen = (place.abs().amax(-1) < 1 - 0.5 / side).flatten()
        index = torch.arange(len(seen), device=place.device)[seen]
        q = F.normalize(queries.flatten(0, 1)[seen], dim=-1)
        k = F.normalize(keys.flatten(0, 1)[seen], dim=-1)
        logits = q @ k.T / self.temperature
        image, cell = index // side**2, index % side**2
        at = torch.stack([cell // side, cell % side], -1).float()
        near = (torch.cdist(at, at) < self.near_patches) & (image[:, None] == image[None])
        near.fill_diagonal_(False)
        return F.cross_entropy(logits.masked_fill(near, float("-inf")), torch.arange(len(index), device=place.device))

    def _images(self, cls: Tensor) -> Tensor:
        n = len(cls) // 2
        logits = cls @ cls.T / 0.2
        logits.fill_diagonal_(float("-inf"))
        return F.cross_entropy(logits, (torch.arange(2 * n, device=cls.device) + n) % (2 * n))


class SelfDistillation(nn.Module):
    """DINOv2's objective: predict the slow teacher's view of the image (DINO) and of hidden patches (iBOT).

    Losses and heads are lightly's; KoLeo spreads the images' features.

    Args:
        trunk: The student.
        prototypes: Size of both heads' output.
    """

    def __init__(self, trunk: Trunk, prototypes: int) -> None:
        super().__init__()
        from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss
        from lightly.models.modules import DINOProjectionHead

        self.trunk = trunk
        self.cls_head = DINOProjectionHead(WIDTH, 512, 128, prototypes)
        self.patch_head = DINOProjectionHead(WIDTH, 512, 128, prototypes)
        self.dino, self.ibot, self.koleo = DINOLoss(prototypes), IBOTPatchLoss(prototypes), KoLeoLoss()
        # lightly's head uses the old weight norm, which cannot be deep-copied: built anew and filled.
        heads = [DINOProjectionHead(WIDTH, 512, 128, prototypes) for _ in range(2)]
        self.teacher = nn.ModuleList([copy.deepcopy(trunk), *heads]).requires_grad_(False)
        for own, source in zip(heads, (self.cls_head, self.patch_head), strict=True):
            own.load_state_dict(source.state_dict())

    def forward(self, views: Views, step: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Named losses of one batch."""
        both = torch.cat([views.a, views.b])
        n, cells = len(both), views.a_in_b.shape[1] ** 2
        share = 0.5 * torch.rand((n, 1), generator=rng) * (torch.rand((n, 1), generator=rng) < 0.5)
        hidden = (torch.rand((n, cells), generator=rng) < share).to(both.device)
        hidden[0, 0] = True
        corner = _corner(self.trunk, views, rng)
        warm = min(1.0, step / 500)
        temperature = 0.04 + 0.03 * warm
        with torch.no_grad():
            taught = self.teacher[0](both, corner, None)[-1]
            cls_target = self.teacher[1](taught[:, 0]).float()
            patch_target = self.teacher[2](taught[:, PREFIX:][hidden]).float()
        learnt = self.trunk(both, corner, hidden)[-1]
        cls = self.cls_head(learnt[:, 0]).float()
        patches = self.patch_head(learnt[:, PREFIX:][hidden]).float()
        side = views.a_in_b.shape[1]
        return {
            # Only the other view's class token is predicted: lightly skips the pairs of equal position.
            "dino": self.dino(list(cls_target.chunk(2)), list(cls.chunk(2)), teacher_temp=temperature),
            "ibot": self.ibot(patch_target, patches, hidden.view(n, side, side), teacher_temp=temperature),
            "koleo": 0.1 * sum(self.koleo(part) for part in learnt[:, 0].float().chunk(2)) / 2,
        }

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Move the teacher towards the student."""
        student = nn.ModuleList([self.trunk, self.cls_head, self.patch_head])
        decay = min(0.99, 1 - 1 / (step + 2))
        torch._foreach_lerp_(list(self.teacher.parameters()), list(student.parameters()), 1 - decay)
