"""Token mixers of the decoder: linear attention, softmax attention, depthwise convolution.

Tokens are `[b, n, d]` with the encoder's prefix tokens (class, registers) first and the patches row by row after them.
Parameter names are those of the authors' checkpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor
    from torch.autograd.function import FunctionCtx


class LinearAttention(nn.Module):
    """Attention with the kernel elu(x) + 1 in place of the softmax: it cannot focus, which is what the paper wants.

    o_s = q_s (sum_t k_t v_t^T) / (q_s . sum_t k_t + eps), with q, k = elu(.) + 1 and no 1/sqrt(d).

    Args:
        width: Token width.
        heads: Number of heads.
        eps: Added to the normaliser. The authors use 0; it keeps the division finite when all keys vanish.
        keep: Which token may attend which; None means all. With a mask the quadratic form is computed.
            DEVIATION: the authors' default module accepts this mask and ignores it.

    References:
        Katharopoulos et al., Transformers are RNNs, arXiv:2006.16236; Guo et al., Dinomaly, arXiv:2405.14325.
    """

    def __init__(self, width: int, heads: int, *, eps: float, keep: Bool[Tensor, "n n"] | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.eps = eps
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.register_buffer("keep", keep, persistent=False)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Mixed tokens."""
        q, k, v = _split_heads(self.qkv(tokens), self.heads)  # (b, heads, n, d / heads)
        # The normaliser sums hundreds of tokens and divides: float32 whatever the surrounding precision.
        q, k = _positive(q.float()), _positive(k.float())
        if isinstance(self.keep, torch.Tensor):
            weights = torch.matmul(q, k.transpose(-2, -1)).float() * self.keep
            mixed = torch.matmul(weights, v.to(weights.dtype)).float() / (weights.sum(-1, keepdim=True) + self.eps)
        else:
            normaliser = (q * k.sum(dim=-2, keepdim=True)).sum(-1, keepdim=True) + self.eps
            mixed = torch.matmul(q, torch.matmul(k.transpose(-2, -1), v.to(k.dtype)).to(q.dtype)).float() / normaliser
        projected: Tensor = self.proj(_merge_heads(mixed).to(tokens.dtype))
        return projected


class SoftmaxAttention(nn.Module):
    """Ordinary attention, the paper's ablation.

    Args:
        width: Token width.
        heads: Number of heads.
        keep: Which token may attend which; None means all. As in the authors' code the mask is applied after the
            softmax and the weights are not normalised again.
    """

    def __init__(self, width: int, heads: int, *, keep: Bool[Tensor, "n n"] | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.register_buffer("keep", keep, persistent=False)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Mixed tokens."""
        q, k, v = _split_heads(self.qkv(tokens), self.heads)
        if isinstance(self.keep, torch.Tensor):
            weights = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1)).float().softmax(dim=-1)
            mixed = torch.matmul(weights * self.keep, v.to(weights.dtype))
        else:
            mixed = F.scaled_dot_product_attention(q, k, v)
        projected: Tensor = self.proj(_merge_heads(mixed).to(tokens.dtype))
        return projected


class ConvMixer(nn.Module):
    """Inverted separable convolution over the patch grid, the paper's ablation; works on patch tokens only.

    Args:
        width: Token width.
        kernel_size: Side of the depthwise kernel, odd.
        grid: Patch rows and columns.
    """

    def __init__(self, width: int, *, kernel_size: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.pwconv1 = nn.Linear(width, 2 * width, bias=False)
        self.dwconv = nn.Conv2d(
            2 * width, 2 * width, kernel_size, padding=kernel_size // 2, groups=2 * width, bias=False
        )
        self.pwconv2 = nn.Linear(2 * width, width, bias=False)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Mixed patch tokens."""
        wide = F.gelu(self.pwconv1(tokens)).transpose(1, 2)
        wide = self.dwconv(wide.reshape(*wide.shape[:2], *self.grid))  # (b, 2d, h, w)
        mixed: Tensor = self.pwconv2(wide.flatten(2).transpose(1, 2))
        return mixed


def neighbour_mask(grid: tuple[int, int], size: int, prefix_tokens: int) -> Bool[Tensor, "n n"]:
    """True where token s may attend token t: every pair but patches inside each other's neighbourhood.

    Args:
        grid: Patch rows and columns.
        size: Side of the window centred on a patch that it may not see; 1 hides only itself.
        prefix_tokens: Class and register tokens before the patches; they see and are seen by all.
    """
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()
    near = ((rows[:, None] - rows).abs() <= size // 2) & ((columns[:, None] - columns).abs() <= size // 2)
    return F.pad(~near, (prefix_tokens, 0, prefix_tokens, 0), value=True)


def _positive(x: Tensor) -> Tensor:
    """elu(x) + 1, from operations that processors vectorise; five times as fast as `F.elu` on one."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        made: Tensor = _Positive.apply(x)
        return made
    return torch.exp(-F.relu(-x)) + F.relu(x)


class _Positive(torch.autograd.Function):
    """The same with a gradient in two operations: it is the output itself, at most 1."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        made = x.clamp(max=0).exp_().add_(x.clamp(min=0))
        ctx.save_for_backward(made)
        return made

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        made: Tensor = ctx.saved_tensors[0]  # type: ignore[attr-defined]
        return made.clamp(max=1).mul_(gradient)


def _split_heads(qkv: Float[Tensor, "b n 3d"], heads: int) -> tuple[Tensor, Tensor, Tensor]:
    batch, count, width = qkv.shape
    q, k, v = qkv.view(batch, count, 3, heads, width // (3 * heads)).permute(2, 0, 3, 1, 4)
    return q, k, v


def _merge_heads(mixed: Float[Tensor, "b heads n e"]) -> Float[Tensor, "b n d"]:
    return mixed.transpose(1, 2).flatten(2)
