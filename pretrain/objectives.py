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
    """The same place in two views must match, every other place must differ, and a defect must be like nothing seen.

    At three depths, InfoNCE over patches, with keys read bilinearly where the query's centre lies in the other view;
    and over the class tokens of the images. Patches with a defect have no match and are what no other may match.

    At the two depths that Dinomaly compares, two losses on the features themselves, since their cosine is its score:
    `novelty` asks of the patch nearest to one, among the good patches of the other view, that it be near to a good
    patch and far from a damaged one, which is what a search for nearest neighbours asks; `mark`, that damaged patches
    share a direction of their own.

    Args:
        trunk: The network.
        temperature: Of the patch softmax.
        near_patches: Places of the same image nearer than this (in patches) are neither positive nor negative.
        novelty_weight: Weight of the loss on nearest patches.
        mark_weight: Weight of the loss on the direction of defects.
        global_weight: Weight of the class token's loss.
    """

    def __init__(
        self,
        trunk: Trunk,
        *,
        temperature: float,
        near_patches: float,
        novelty_weight: float,
        mark_weight: float,
        global_weight: float,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.temperature = temperature
        self.near_patches = near_patches
        self.weights = {"novelty": novelty_weight, "mark": mark_weight}
        self.global_weight = global_weight
        # Hidden patches belong to the other objective; a parameter without gradient would stall several processes.
        trunk.mask_token.requires_grad_(False)
        self.heads = nn.ModuleDict({name: Projection(128) for name in LEVELS})
        self.global_head = Projection(128)
        self.novelty = nn.ModuleList(Novelty() for _ in range(2)) if novelty_weight else ()
        self.mark = nn.ModuleList(Mark() for _ in range(2)) if mark_weight else ()

    def forward(self, views: Views, step: int, rng: torch.Generator) -> dict[str, Tensor]:  # noqa: ARG002
        """Named losses of one batch."""
        outputs = self.trunk(torch.cat([views.a, views.b]), _corner(self.trunk, views, rng), None)
        places = [Places(views, first, self.near_patches) for first in (0, 1)]
        losses = {}
        for level, (name, blocks) in enumerate(LEVELS.items()):
            fused = torch.stack([outputs[i] for i in blocks]).mean(0)[:, PREFIX:].float()
            projected = self.heads[name](fused).float()
            losses[name] = sum(self._patches(projected, seen) for seen in places) / 2
            for kind, terms in (("novelty", self.novelty), ("mark", self.mark)):
                if level < len(terms):  # not at the last depth, which Dinomaly does not compare
                    losses[f"{name}_{kind}"] = self.weights[kind] * terms[level](fused, views)
        cls = F.normalize(self.global_head(outputs[-1][:, 0]).float(), dim=-1)
        losses["image"] = self.global_weight * self._images(cls)
        return losses

    def after_step(self, step: int) -> None:
        """Nothing: there is no teacher."""

    def _patches(self, projected: Tensor, places: Places) -> Tensor:
        queries, keys = places.read(projected)
        logits = queries[places.good] @ keys.T / self.temperature
        return F.cross_entropy(logits.masked_fill(places.near, float("-inf")), places.good.nonzero()[:, 0])

    def _images(self, cls: Tensor) -> Tensor:
        n = len(cls) // 2
        logits = cls @ cls.T / 0.2
        logits.fill_diagonal_(float("-inf"))
        return F.cross_entropy(logits, (torch.arange(2 * n, device=cls.device) + n) % (2 * n))


class Places:
    """Patches of one view whose centre the other has seen too, and whether both are `good`.

    `near` [good, places] says of each good one which others are too near in the same image to be pushed apart.

    Args:
        views: Both views.
        first: 0 to ask view a and look up view b, 1 for the reverse.
        near_patches: Places of the same image nearer than this (in patches) are neither positive nor negative.
    """

    def __init__(self, views: Views, first: int, near_patches: float) -> None:
        self.first, self.place = first, (views.a_in_b, views.b_in_a)[first]
        self.index = in_sight(self.place).nonzero()[:, 0]
        own, other = in_turn(views.damage, first)
        there = F.grid_sample(other, self.place, align_corners=False)
        hit, unsure = torch.maximum(own, there).transpose(0, 1).flatten(1)[:, self.index]
        self.good = (hit < 0.01) & (unsure < 0.01)
        side = self.place.shape[1]
        image, cell = self.index // side**2, self.index % side**2
        at = torch.stack([cell // side, cell % side], -1).float()
        near = (torch.cdist(at, at) < near_patches) & (image[:, None] == image[None]) & (hit <= 0.6)[None]
        self.near = near.fill_diagonal_(False)[self.good]

    def read(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Unit features of the places [p, d] in the one view, and bilinearly in the other."""
        own, other = in_turn(patches, self.first)
        there = F.grid_sample(_as_map(other), self.place, align_corners=False).flatten(2).transpose(1, 2)
        return (
            F.normalize(own.flatten(0, 1)[self.index], dim=-1),
            F.normalize(there.flatten(0, 1)[self.index], dim=-1),
        )


def in_sight(place: Tensor) -> Tensor:
    """Whether places [n, h, w, 2] in the other view lie at least half a patch inside it, [n h w]."""
    return (place.abs().amax(-1) < 1 - 0.5 / place.shape[1]).flatten()


def in_turn(both: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """The halves of a tensor for views a and b; b before a if `first` is 1."""
    a, b = both.chunk(2)
    return (b, a) if first else (a, b)


class Novelty(nn.Module):
    """Tells good patches from damaged ones by their cosine to the nearest good patch of the other view.

    The nearest is a soft one, so that the gradient reaches more than one; scale and threshold are learned.
    """

    softness = 0.03

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.threshold = nn.Parameter(torch.tensor(8.0)), nn.Parameter(torch.tensor(0.7))

    def forward(self, fused: Tensor, views: Views) -> Tensor:
        """Loss of features [2n, h w, d] of both views."""
        hit, unsure = views.damage.flatten(2).unbind(1)
        clean = (hit + unsure) == 0
        a, b = F.normalize(fused, dim=-1).chunk(2)
        cosines = a @ b.transpose(1, 2)
        total = fused.new_zeros(())
        for first, cosine in ((0, cosines), (1, cosines.transpose(1, 2))):
            (own_hit, _), (own_clean, other_clean) = in_turn(hit, first), in_turn(clean, first)
            soft = (cosine / self.softness).masked_fill(~other_clean[:, None], -1e4)
            logit = self.scale * (self.softness * soft.logsumexp(-1) - self.threshold)
            comparable = other_clean.any(1, keepdim=True)
            seen = in_sight((views.a_in_b, views.b_in_a)[first]).view_as(own_clean)
            total = total + _mean_where(F.softplus(-logit), own_clean & seen & comparable)
            total = total + _mean_where(F.softplus(logit), (own_hit > 0) & comparable)
        return total / 2


class Mark(nn.Module):
    """Tells good patches from damaged ones by their cosine to one learned direction."""

    def __init__(self) -> None:
        super().__init__()
        self.direction = nn.Parameter(F.normalize(torch.randn(WIDTH), dim=0))
        self.threshold = nn.Parameter(torch.zeros(()))

    def forward(self, fused: Tensor, views: Views) -> Tensor:
        """Loss of features [2n, h w, d] of both views."""
        hit, unsure = views.damage.flatten(2).unbind(1)
        logit = 10 * (F.normalize(fused, dim=-1) @ F.normalize(self.direction, dim=0) - self.threshold)
        return _mean_where(F.softplus(logit), (hit + unsure) == 0) + _mean_where(F.softplus(-logit), hit > 0)


def _mean_where(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp(min=1)


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
