"""A trained Dinomaly rewritten for inference: the same numbers from fewer and larger operations.

What never changes after training is multiplied out once, in float64: the scale and shift of every layer norm go into
the linear layer behind it, layer scale into the linear layer before it, the number of averaged layers into the
bottleneck, patch embedding becomes a matrix product and position table, class and register tokens one constant. Layers
of a group are summed as they appear; their mean is never needed, because a cosine does not see lengths.

The method itself is `muad.detectors.dinomaly`; read that first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from timm.layers import Mlp, PatchEmbed
from timm.layers.attention import Attention
from timm.models import VisionTransformer
from timm.models.vision_transformer import Block, LayerScale
from torch import nn

from muad.detectors import Detector, Dinomaly
from muad.detectors.dinomaly import cosine_distance, recentred
from muad.errors import ConfigError
from muad.nn.attention import LinearAttention

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

    from muad.detectors.dinomaly import DecoderBlock
    from muad.nn.attention import SoftmaxAttention

Group = tuple[int, ...]


def why_not_foldable(detector: Detector) -> str | None:
    """What of a detector the folded network cannot express, as the end of "because …"; None if it can all."""
    if not isinstance(detector, Dinomaly):
        return f"{type(detector).__name__} is not Dinomaly"
    config = detector.config
    if config.attention not in ("linear", "softmax"):
        return f"detector.attention is {config.attention}"
    if config.neighbour_mask:
        return "detector.neighbour_mask is set"
    if config.grouping == "concatenation":
        return "detector.grouping is concatenation"
    network = detector.encoder.network
    if type(network) is not VisionTransformer or network.pos_embed is None:
        return f"encoder {detector.encoder.name} has no table of positions"
    embedding = network.patch_embed
    if type(embedding) is not PatchEmbed or not isinstance(embedding.norm, nn.Identity):
        return f"encoder {detector.encoder.name} embeds patches in more than one step"
    if not all(_is_plain(block) for block in network.blocks):
        return f"encoder {detector.encoder.name} has blocks of another kind"
    return None


class FoldedDinomaly(nn.Module):
    """Dinomaly's patch distances from folded weights; gradients, training and maps are the detector's business.

    Args:
        detector: Trained; neither changed nor kept.
        dtype: Of weights and matrix products. Pixels and patch embedding, the first block, the residual stream, layer
            norms, the normaliser of linear attention and the cosine are float32 whatever it is: a pixel rounded to
            bfloat16 is off by up to half a grey level, and tokens of a flat patch are so short at first that layer
            norm enlarges what the first block rounds sevenfold. That was most of the error of a map.

    Attributes:
        image_size: Height and width of the images it takes.
        grid: Patches in height and width.
        stem_blocks: Blocks always computed in float32.

    Raises:
        ConfigError: The detector has a part that cannot be folded.
    """

    patch_weight: Tensor
    prefix: Tensor
    table: Tensor

    def __init__(self, detector: Dinomaly, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        reason = why_not_foldable(detector)
        if reason is not None:
            raise ConfigError(f"detector must be one that can be folded, got one that cannot because {reason}.")
        encoder = detector.encoder
        self.image_size, self.grid, self.patch_px = encoder.image_size, encoder.grid, encoder.patch_px
        self.prefix_tokens = encoder.prefix_tokens
        self._embed(encoder.network)
        self.encoder = nn.ModuleList(_encoder_block(block) for block in encoder.network.blocks)
        taps = encoder.tap_layers
        groups = [tuple(taps[layer] for layer in group) for group in detector.layer_groups]
        self.pairs = len(groups)
        # Where the groups leave layers out, the bottleneck's input is a further sum.
        into = tuple(taps[layer] for layer in detector.bottleneck_layers)
        self.tapped: list[Group] = groups if detector.targets_cover_all else [*groups, into]
        self.recentring = detector.config.recentring
        bottleneck = detector.bottleneck
        mean = nn.Linear(bottleneck.first.in_features, bottleneck.first.out_features, device="meta")
        mean.weight = nn.Parameter(bottleneck.first.weight / len(into), requires_grad=False)
        mean.bias = bottleneck.first.bias
        # Between a narrow layer and the next lies only noise, but their product would be wider than both.
        wide = [] if bottleneck.narrow is None else [_fold(bottleneck.fc1)]
        self.bottleneck = nn.ModuleList([_fold(mean), *wide, _fold(bottleneck.fc2)])
        self.decoder = nn.ModuleList(_decoder_block(cast("DecoderBlock", block)) for block in detector.decoder)
        last = len(self.decoder) - 1
        # The first encoder layers meet the last decoder blocks.
        self.restored: list[Group] = [
            tuple(last - (layer - detector.unread) for layer in group) for group in detector.layer_groups
        ]
        self.dtype = dtype
        self.stem_blocks = 0 if 0 in taps else 1
        for part in (*self.encoder[self.stem_blocks :], self.bottleneck, *self.decoder):
            part.to(dtype)
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b h w"]:
        """Cosine distance at every patch, averaged over the groups: what `Dinomaly.distance_map` gives."""
        return distance_grid(self.features(images), self.grid)

    def features(self, images: Float[Tensor, "b 3 H W"]) -> list[Float[Tensor, "b n d"]]:
        """Patch tokens to compare: the encoder's sum over every group, then the decoder's sums in the same order."""
        return self.features_of(self.stem(images))

    def stem(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b n d"]:
        """Tokens after what is always float32: patch embedding and the first block, if no layer is read from it."""
        tokens = self._tokens(images)
        for block in self.encoder[: self.stem_blocks]:
            tokens = block(tokens)
        return tokens

    def features_of(self, tokens: Float[Tensor, "b n d"]) -> list[Float[Tensor, "b n d"]]:
        """What `features` gives, from the tokens of `stem`."""
        targets: list[Tensor | None] = [None] * len(self.tapped)
        for index, block in enumerate(self.encoder[self.stem_blocks :], self.stem_blocks):
            tokens = block(tokens)
            _add(targets, self.tapped, index, tokens)
        encoded = [total for total in targets if total is not None]
        everything = _sum(encoded) if self.pairs == len(encoded) else encoded[-1]
        *into, out = self.bottleneck
        tokens = everything.to(self.dtype)
        for layer in into:
            tokens = layer(tokens)
        tokens = out(F.gelu(tokens)).float()
        restored: list[Tensor | None] = [None] * self.pairs
        for index, block in enumerate(self.decoder):
            tokens = block(tokens)
            _add(restored, self.restored, index, tokens)
        decoded = [total for total in restored if total is not None]
        prefix = self.prefix_tokens
        targets_of_pairs = [
            recentred(total, prefix, len(group)) if self.recentring else total[:, prefix:]
            for total, group in zip(encoded[: self.pairs], self.tapped, strict=False)
        ]
        return [*targets_of_pairs, *(total[:, prefix:] for total in decoded)]

    def _tokens(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b n d"]:
        """Class and register tokens, then patches row by row, with positions."""
        (rows, columns), side = self.grid, self.patch_px
        batch = images.shape[0]
        pixels = images.float().reshape(batch, 3, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)
        patches = torch.matmul(pixels.reshape(batch, rows * columns, -1), self.patch_weight) + self.table
        return torch.cat([self.prefix.expand(batch, -1, -1), patches], dim=1) if self.prefix_tokens else patches

    def _embed(self, network: VisionTransformer) -> None:
        """Patch embedding, its bias, positions and prefix tokens as three constants."""
        convolution = network.patch_embed.proj
        positions = network.pos_embed.detach()
        prefix = [token.detach() for token in (network.cls_token, network.reg_token) if token is not None]
        first = torch.cat(prefix, dim=1) if prefix else positions[:, :0]
        if not network.no_embed_class:
            first = first + positions[:, : first.shape[1]]
            positions = positions[:, first.shape[1] :]
        bias = 0 if convolution.bias is None else convolution.bias.detach()
        self.register_buffer("patch_weight", convolution.weight.detach().flatten(1).t().contiguous())
        self.register_buffer("prefix", first.clone())
        self.register_buffer("table", positions + bias)


class _FoldedBlock(nn.Module):
    """Pre-norm attention and MLP; the norms have no parameters of their own any more."""

    def __init__(
        self,
        *,
        attention: tuple[nn.Linear, nn.Linear],
        mlp: tuple[nn.Linear, nn.Linear],
        heads: int,
        norm_eps: tuple[float, float],
        linear_eps: float | None,
    ) -> None:
        super().__init__()
        self.qkv, self.proj = attention
        self.fc1, self.fc2 = mlp
        self.heads, self.norm_eps, self.linear_eps = heads, norm_eps, linear_eps

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        tokens = tokens + self.proj(self._mix(self.qkv(self._norm(tokens, self.norm_eps[0]))))
        restored: Tensor = self.fc2(F.gelu(self.fc1(self._norm(tokens, self.norm_eps[1]))))
        return tokens + restored

    def _norm(self, tokens: Float[Tensor, "b n d"], eps: float) -> Float[Tensor, "b n d"]:
        return F.layer_norm(tokens, (self.qkv.in_features,), eps=eps).to(self.qkv.weight.dtype)

    def _mix(self, qkv: Float[Tensor, "b n 3d"]) -> Float[Tensor, "b n d"]:
        batch, count, width = qkv.shape
        q, k, v = qkv.view(batch, count, 3, self.heads, width // (3 * self.heads)).permute(2, 0, 3, 1, 4).unbind(0)
        if self.linear_eps is None:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = _linear_attention(q, k, v, self.linear_eps)
        return mixed.transpose(1, 2).reshape(batch, count, -1)


def distance_grid(features: Sequence[Float[Tensor, "b n d"]], grid: tuple[int, int]) -> Float[Tensor, "b h w"]:
    """Cosine distance of encoder and decoder sums, in float32, averaged over the groups.

    Args:
        features: From `FoldedDinomaly.features`.
        grid: Patch rows and columns.
    """
    half = len(features) // 2
    distances = [cosine_distance(a, b) for a, b in zip(features[:half], features[half:], strict=True)]
    return (_sum(distances) / half).reshape(-1, *grid)


def _linear_attention(q: Tensor, k: Tensor, v: Tensor, eps: float) -> Tensor:
    """As `muad.nn.attention.LinearAttention`; only the two large products are of the precision of v."""
    q, k = _positive(q.float()), _positive(k.float())
    normaliser = torch.matmul(q, k.sum(dim=-2, keepdim=True).transpose(-2, -1)) + eps
    summary = torch.matmul(k.transpose(-2, -1).to(v.dtype), v)
    return (torch.matmul(q.to(v.dtype), summary) / normaliser).to(v.dtype)


def _positive(x: Tensor) -> Tensor:
    """elu(x) + 1."""
    return torch.exp(-F.relu(-x)) + F.relu(x)


def _add(totals: list[Tensor | None], groups: Sequence[Group], layer: int, tokens: Tensor) -> None:
    """Add a layer's tokens to the sum of every group it belongs to."""
    for place, (total, group) in enumerate(zip(totals, groups, strict=True)):
        if layer in group:
            totals[place] = tokens if total is None else total + tokens


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total


def _is_plain(block: nn.Module) -> bool:
    """Whether a block is exactly LayerNorm, softmax attention, LayerNorm, GELU MLP, with or without layer scale."""
    if type(block) is not Block or type(block.attn) is not Attention or type(block.mlp) is not Mlp:
        return False
    attention: Attention = block.attn
    mlp: Mlp = block.mlp
    extras = (attention.q_norm, attention.k_norm, attention.norm, mlp.norm)
    gelu = isinstance(mlp.act, nn.GELU) and mlp.act.approximate == "none"
    norms = all(isinstance(norm, nn.LayerNorm) for norm in (block.norm1, block.norm2))
    scales = all(isinstance(scale, (LayerScale, nn.Identity)) for scale in (block.ls1, block.ls2))
    plain = attention.gate is None and all(isinstance(extra, nn.Identity) for extra in extras)
    return plain and gelu and norms and scales


def _encoder_block(block: Block) -> _FoldedBlock:
    scales = [scale.gamma if isinstance(scale, LayerScale) else None for scale in (block.ls1, block.ls2)]
    return _FoldedBlock(
        attention=(_fold(block.attn.qkv, norm=block.norm1), _fold(block.attn.proj, scale=scales[0])),
        mlp=(_fold(block.mlp.fc1, norm=block.norm2), _fold(block.mlp.fc2, scale=scales[1])),
        heads=block.attn.num_heads,
        norm_eps=(block.norm1.eps, block.norm2.eps),
        linear_eps=None,
    )


def _decoder_block(block: DecoderBlock) -> _FoldedBlock:
    mixer, mlp = cast("LinearAttention | SoftmaxAttention", block.attn), cast("dict[str, nn.Linear]", block.mlp)
    return _FoldedBlock(
        attention=(_fold(mixer.qkv, norm=block.norm1), _fold(mixer.proj)),
        mlp=(_fold(mlp["fc1"], norm=block.norm2), _fold(mlp["fc2"])),
        heads=mixer.heads,
        norm_eps=(block.norm1.eps, block.norm2.eps),
        linear_eps=mixer.eps if isinstance(mixer, LinearAttention) else None,
    )


def _fold(linear: nn.Linear, *, norm: nn.LayerNorm | None = None, scale: Tensor | None = None) -> nn.Linear:
    """The linear layer that does what norm's scale and shift, the layer, and a scale of its outputs do together."""
    weight = linear.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if linear.bias is None else linear.bias.detach().double()
    if norm is not None:
        bias = bias + weight @ norm.bias.detach().double()
        weight = weight * norm.weight.detach().double()
    if scale is not None:
        weight, bias = weight * scale.detach().double()[:, None], bias * scale.detach().double()
    folded = nn.Linear(linear.in_features, linear.out_features, device="meta")
    folded.weight = nn.Parameter(weight.float(), requires_grad=False)
    folded.bias = nn.Parameter(bias.float(), requires_grad=False)
    return folded
