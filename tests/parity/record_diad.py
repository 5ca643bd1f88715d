"""Records the authors' semantic-guided network, its fusion block and the guided denoiser at a small width.

    python record_diad.py DIAD_CHECKOUT FILL_PY OUT.safetensors

DIAD_CHECKOUT is lewandofskee/DiAD at d281300; FILL_PY makes weights from official names. Needs torch, einops and
safetensors; what else the authors' modules import is not used by these networks and is stood in for. Their fusion block
has its widths written into the code (640 and 1280), so its convolutions are made anew at the widths asked for.
"""

import importlib.util
import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import torch
from safetensors.torch import save_file
from torch import nn

KEPT = re.compile(
    r"^(down\d\d|zero_convs|middle_block_out|input_hint_block|input_blocks\.[14]\.|output_blocks\.0|out\.)"
)
WIDTH, HEADS, CONTEXT, SEED, BATCH, SIDE = 32, 8, (5, 24), 1, 1, 16


class StandIn(ModuleType):
    """A module of which anything may be imported; classes can be derived from it."""

    __path__ = ()

    def __getattr__(self, name: str) -> object:
        return nn.Module if name in ("LightningModule", "Callback") else MagicMock()


class StandIns:
    """Finds whatever is not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        top = ("pytorch_lightning", "omegaconf", "torchmetrics", "taming", "skimage", "sklearn", "tabulate", "timm",
               "xformers_", "pandas", "cv2", "scipy", "transformers", "open_clip", "kornia", "utils", "matplotlib",
               "torchvision")  # fmt: skip
        return ModuleSpec(name, self) if name.partition(".")[0] in top else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def main(checkout: Path, fill_file: Path, out: Path) -> None:
    sys.meta_path.insert(0, StandIns())
    sys.path.insert(0, str(checkout))
    from sgn.sgn import ControlledUnetModel, SemanticGuidedNetwork

    spec = importlib.util.spec_from_file_location("fill", fill_file)
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    shape = {
        "image_size": SIDE, "in_channels": 4, "model_channels": WIDTH, "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2, "channel_mult": [1, 2, 4, 4], "num_heads": HEADS, "use_spatial_transformer": True,
        "transformer_depth": 1, "context_dim": CONTEXT[1], "use_checkpoint": False, "legacy": False,
    }  # fmt: skip
    guide = SemanticGuidedNetwork(hint_channels=3, **shape)
    for row, width in ((1, 2 * WIDTH), (2, 4 * WIDTH), (3, 4 * WIDTH)):
        for column in (1, 2, 3):
            getattr(guide, f"down{row}{column}")[0] = nn.Conv2d(width, 4 * WIDTH, 3, 2, 1, bias=False)
            getattr(guide, f"down{row}{column}")[1] = nn.InstanceNorm2d(4 * WIDTH)
    denoiser = ControlledUnetModel(out_channels=4, **shape)
    for prefix, module in (("control_model.", guide), ("model.diffusion_model.", denoiser)):
        module.float()
        with torch.no_grad():
            for name, tensor in module.state_dict().items():
                tensor.copy_(torch.from_numpy(fill.filled(prefix + name, tuple(tensor.shape), SEED)))
    generator = torch.Generator().manual_seed(SEED)
    given = {
        "noised": torch.randn(BATCH, 4, SIDE, SIDE, generator=generator),
        "context": torch.randn(1, *CONTEXT, generator=generator),
        "timesteps": torch.tensor([901, 7])[:BATCH],
        "noise": torch.randn(BATCH, 4, SIDE, SIDE, generator=generator),
    }
    context = given["context"].expand(BATCH, -1, -1)
    images = torch.from_numpy(fill.filled("input.images", (BATCH, 3, 8 * SIDE, 8 * SIDE), SEED))  # not stored
    said = guide(x=given["noised"], hint=images, timesteps=given["timesteps"], context=context)
    found = {f"guidance.{number}": said[number].detach().clone() for number in range(9, 13)}
    predicted = denoiser(
        x=given["noised"], timesteps=given["timesteps"], context=context, control=list(said), only_mid_control=True
    )
    loss = (predicted - given["noise"]).square().mean()
    loss.backward()
    for prefix, module in (("control_model.", guide), ("model.diffusion_model.", denoiser)):
        for name, parameter in module.named_parameters():
            if parameter.grad is not None and KEPT.search(name):
                flat = parameter.grad.double().flatten()
                found[f"grad.{prefix}{name}"] = torch.cat([torch.stack([flat.norm(), flat.sum()]), flat[:6]])
    found |= {"predicted": predicted.detach(), "loss": loss.detach()}
    facts = {"seed": str(SEED), "width": str(WIDTH), "heads": str(HEADS), "pixels": str(8 * SIDE)}
    save_file({name: tensor.contiguous().clone() for name, tensor in (given | found).items()}, out, facts)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
