"""The network that is trained: timm's ViT in DINOv2's token layout, tapped as Dinomaly taps it, and its export."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

PATCH_PX = 14
WIDTH = 192
HEADS = 3
DEPTH = 12
REGISTERS = 4


def sine_positions(side: int, width: int) -> Tensor:
    """Sines and cosines of row and column, [side * side, width]: neighbours alike from the first step on."""
    frequency = 100.0 ** -(torch.arange(width // 4) / (width // 4))
    line = torch.arange(side)[:, None] * frequency
    waves = torch.cat([line.sin(), line.cos()], 1)
    rows = waves[:, None].expand(side, side, -1)
    columns = waves[None].expand(side, side, -1)
    return torch.cat([rows, columns], -1).reshape(side * side, width)


class Trunk(nn.Module):
    """A ViT whose views are windows of one grid of position embeddings.

    A view of 6 x 6 patches takes a random 6 x 6 window of the `grid` x `grid` table. All of the table is trained, at
    the spacing it is used with, although no training view is as large as an inspection image.

    Args:
        grid: Side of the table of position embeddings, in patches.
        layer_scale: Initial LayerScale.
        position_scale: Initial size of the position embeddings (sines and cosines).
    """

    def __init__(self, grid: int, layer_scale: float, position_scale: float) -> None:
        super().__init__()
        self.grid = grid
        self.vit = VisionTransformer(
            img_size=grid * PATCH_PX,
            patch_size=PATCH_PX,
            embed_dim=WIDTH,
            depth=DEPTH,
            num_heads=HEADS,
            init_values=layer_scale,
            reg_tokens=REGISTERS,
            no_embed_class=True,
            num_classes=0,
            global_pool="",
        )
        for block in self.vit.blocks:
            # Measured on a CPU in bf16: the fused kernel's backward takes 40 % of a step, plain matmuls 6 %.
            block.attn.fused_attn = torch.cuda.is_available()
        self.mask_token = nn.Parameter(torch.zeros(1, WIDTH))
        with torch.no_grad():
            self.vit.pos_embed.copy_(position_scale * sine_positions(grid, WIDTH)[None])
            nn.init.trunc_normal_(self.vit.reg_token, std=0.02)

    def forward(self, images: Tensor, corner: tuple[int, int], hidden: Tensor | None) -> list[Tensor]:
        """Outputs of all blocks, then the normalised last one; tokens are [CLS, registers, patches].

        Args:
            images: Normalised views [n, 3, px, px].
            corner: Row and column of the window of positions.
            hidden: Patches to replace by the mask token, bool [n, h * w], or None.
        """
        n, side = len(images), images.shape[-1] // PATCH_PX
        x = self.vit.patch_embed.proj(images).flatten(2).transpose(1, 2)
        if hidden is not None:
            x = torch.where(hidden[..., None], self.mask_token.to(x.dtype), x)
        table = self.vit.pos_embed.view(self.grid, self.grid, WIDTH)
        window = table[corner[0] : corner[0] + side, corner[1] : corner[1] + side].reshape(1, side * side, WIDTH)
        x = torch.cat([self.vit.cls_token.expand(n, -1, -1), self.vit.reg_token.expand(n, -1, -1), x + window], 1)
        outputs = []
        for block in self.vit.blocks:
            x = block(x)
            outputs.append(x)
        return [*outputs, self.vit.norm(x)]


def restore(trunk: Trunk, file: Path) -> None:
    """Fill a network with the weights that `export` wrote.

    Raises:
        ValueError: They are of another grid of positions or of another network.
    """
    tensors = {name: value.float() for name, value in load_file(file).items()}
    position = tensors.pop("pos_embed", torch.empty(0, 1, 0))
    expected = (1, 1 + trunk.grid**2, WIDTH)
    if position.shape != expected:
        raise ValueError(
            f"--start must hold positions of shape {list(expected)}, got {list(position.shape)} in {file}. "
            "Name weights that this script wrote, with the --grid they were made with."
        )
    trunk.mask_token.data.copy_(tensors.pop("mask_token"))
    tensors["cls_token"] = tensors["cls_token"] + position[:, :1]
    tensors["pos_embed"] = position[:, 1:]
    trunk.vit.load_state_dict({{"register_tokens": "reg_token"}.get(name, name): t for name, t in tensors.items()})


def export(trunk: Trunk, file: Path) -> None:
    """Write the weights as float16 safetensors under the names of Meta's DINOv2 checkpoints."""
    tensors: dict[str, Tensor] = {}
    for name, value in trunk.vit.state_dict().items():
        tensors[{"reg_token": "register_tokens"}.get(name, name)] = value
    # Meta's layout gives CLS a position embedding of its own; here it is part of the CLS token.
    tensors["pos_embed"] = torch.cat([torch.zeros(1, 1, WIDTH), tensors["pos_embed"].cpu()], 1)
    tensors["mask_token"] = trunk.mask_token.detach()
    half = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in tensors.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    # One entry only: with more, their order in the file changes from run to run.
    save_file(half, partial, metadata={"position_grid": str(trunk.grid)})
    partial.chmod(0o644)
    partial.replace(file)
