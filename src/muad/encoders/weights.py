"""Encoder weights: read a file, bring it to timm's naming, hold it against the network, take its fingerprint.

Meta's releases and timm name the same tensors differently in two families: DINOv2 with registers and DINOv3.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import pickle
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import safetensors
import safetensors.torch
import torch

from muad.encoders.families import VitLayout
from muad.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from muad.encoders.families import EncoderFamily
    from muad.encoders.pyramids import PyramidFamily

_WRAPPERS = ("teacher", "model", "state_dict")  # MAE, DeiT, BEiT: model; iBOT: state_dict
_TORCH_SUFFIXES = (".pth", ".pt", ".bin")
_LISTED = 8
# What safetensors and torch are known to raise on damaged files.
_UNREADABLE = (safetensors.SafetensorError, OSError, RuntimeError, EOFError, ValueError, LookupError, AttributeError,
               TypeError)  # fmt: skip


def read_tensors(path: Path, what: str = "encoder weights") -> dict[str, Tensor]:
    """Every tensor of a weights file, on the CPU.

    Args:
        path: A `.safetensors` file, or a `.pth`, `.pt` or `.bin` file of tensors only (nothing in it is executed).
        what: What to call it in an error.

    Raises:
        CheckpointError: The file is missing, damaged, or of another kind.
    """
    if not path.is_file():
        msg = f"{what} must be an existing file, got {path}. Correct detector.encoder.weights."
        raise CheckpointError(msg)
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        if path.suffix in _TORCH_SUFFIXES:
            return _unwrap(torch.load(path, map_location="cpu", weights_only=True), path, what)
    except pickle.UnpicklingError:  # torch's own message advises to load such a file all the same
        msg = (
            f"{what} must be a readable file of tensors, got {path}, which is damaged or holds other objects; "
            "loading these could run code, so they are not. Download it again, or save its state_dict alone."
        )
        raise CheckpointError(msg) from None
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"{what} must be a readable file of tensors, got {path} ({reason}). Download it again."
        raise CheckpointError(msg) from error
    msg = f"{what} must end in .safetensors, {', '.join(_TORCH_SUFFIXES)}, got {path.name}."
    raise CheckpointError(msg)


def read_packaged_tensors(name: str) -> dict[str, Tensor]:
    """The tensors of an encoder that ships inside the package."""
    file = importlib.resources.files("muad").joinpath("weights").joinpath(f"{name}.safetensors")
    if not file.is_file():
        msg = f"encoder {name} must be part of the installation, got none. Choose another detector.encoder.name."
        raise CheckpointError(msg)
    return dict(safetensors.torch.load(file.read_bytes()))


def to_timm_naming(tensors: Mapping[str, Tensor], family: EncoderFamily) -> dict[str, Tensor]:
    """The same weights in float32 under timm's names, from timm's naming or the family's original one."""
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    if family.naming == "dinov2-registers" and "register_tokens" in state:
        return _from_dinov2_registers(state)
    if family.naming == "dinov3":
        return _with_dinov3_biases(_from_dinov3(state) if "storage_tokens" in state else state)
    return state


def select_tensors(
    state: Mapping[str, Tensor],
    *,
    name: str,
    family: EncoderFamily | PyramidFamily,
    needed: Mapping[str, torch.Size],
    known: Mapping[str, torch.Size],
) -> dict[str, Tensor]:
    """The tensors the network needs, once all of them are there and nothing foreign is.

    Args:
        state: Weights in timm's naming.
        name: The encoder's name, for the message.
        family: Its row; `ignored` lists what a release may hold beside the network.
        needed: Names of the network's tensors up to the last tapped block, with the shapes they were trained in.
        known: The same of the whole network: later blocks, final norm and head may be present and are left out.

    Raises:
        CheckpointError: Lists what is missing, unexpected, or of another shape.
    """
    missing = [key for key in needed if key not in state]
    unexpected = [
        key for key in state if key not in known and not any(fnmatchcase(key, pattern) for pattern in family.ignored)
    ]
    misshapen = [
        f"{key} must be {tuple(shape)}, got {tuple(state[key].shape)}"
        for key, shape in needed.items()
        if key in state and state[key].shape != shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    if any(faults.values()):
        listed = "; ".join(f"{len(found)} {kind}: {_shorten(found)}" for kind, found in faults.items() if found)
        msg = f"encoder weights must fit {name}, got {listed}. Give the file of that encoder, or its right name."
        raise CheckpointError(msg)
    return {key: state[key] for key in needed}


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and values of weights in timm's naming: the same whichever file they came from."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def _unwrap(content: object, path: Path, what: str) -> dict[str, Tensor]:
    """The tensors of a torch file, which may lie under one further key."""
    if isinstance(content, Mapping):
        for key in _WRAPPERS:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
        if isinstance(content, Mapping) and content and all(isinstance(v, torch.Tensor) for v in content.values()):
            return dict(content)
    msg = f"{what} must be a mapping of names to tensors, got another content in {path}."
    raise CheckpointError(msg)


def _from_dinov2_registers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Meta keeps a position for the class token, none for the registers; timm adds the former to the token itself."""
    converted = {name: tensor for name, tensor in state.items() if name != "register_tokens"}
    converted["reg_token"] = state["register_tokens"]
    token, positions = state.get("cls_token"), state.get("pos_embed")
    # A file that lacks one of the two, or has it in another shape, is left to the check that lists such faults.
    if token is not None and positions is not None and token.ndim == positions.ndim == 3:
        converted["pos_embed"] = positions[:, 1:]
        if token.shape[-1] == positions.shape[-1]:
            converted["cls_token"] = token + positions[:, :1]
    return converted


def _from_dinov3(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Meta stores one bias for query, key and value with a mask that takes the key's part out; timm stores two."""
    converted = {}
    for name, tensor in state.items():
        if name.endswith("attn.qkv.bias_mask"):
            continue
        if name.endswith("attn.qkv.bias"):
            mask = state.get(f"{name}_mask")
            # Not a product: the unused part of a freshly made mask or bias may be NaN.
            masked = tensor if mask is None else torch.where(mask == 0, torch.zeros_like(tensor), tensor)
            query, key, value = masked.chunk(3)
            if bool(key.any()):
                msg = f"the key's part of {name} must be masked or zero, got other values. Use an unaltered release."
                raise CheckpointError(msg)
            stem = name.removesuffix("qkv.bias")
            converted[f"{stem}q_bias"] = query
            converted[f"{stem}v_bias"] = value
            continue
        renamed = name.replace("storage_tokens", "reg_token")
        renamed = renamed.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2")
        converted[renamed] = tensor
    return converted


def _with_dinov3_biases(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights without query and value biases, as timm also publishes them, are those with zeros there."""
    if any(name.endswith("attn.q_bias") for name in state):
        return state
    completed = dict(state)
    for name, tensor in state.items():
        if name.endswith("attn.qkv.weight"):
            stem = name.removesuffix("qkv.weight")
            for bias in ("q_bias", "v_bias"):
                completed[stem + bias] = torch.zeros(tensor.shape[0] // 3)
    return completed


def _shorten(found: list[str]) -> str:
    rest = len(found) - _LISTED
    return ", ".join(found[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def infer_layout(tensors: Mapping[str, Tensor], heads: int | None = None) -> VitLayout:
    """Shape of the vision transformer whose tensors, in the naming of DINO and DINOv2 releases, these are.

    Args:
        tensors: All of its tensors.
        heads: Attention heads, which no tensor tells; width / 64 unless given.

    Raises:
        CheckpointError: They are not those of a plain vision transformer.
    """
    try:
        blocks = {int(name.split(".")[1]) for name in tensors if name.startswith("blocks.")}
        if not blocks:
            raise KeyError("blocks.0")
        width = tensors["patch_embed.proj.weight"].shape[0]
        return VitLayout(
            width=width,
            depth=max(blocks) + 1,
            heads=heads or max(1, width // 64),
            patch_px=tensors["patch_embed.proj.weight"].shape[-1],
            registers=tensors["register_tokens"].shape[1] if "register_tokens" in tensors else 0,
            class_token="cls_token" in tensors,
            layer_scale=any(name.endswith("ls1.gamma") for name in tensors),
            position_grid=round((tensors["pos_embed"].shape[1] - int("cls_token" in tensors)) ** 0.5),
        )
    except (KeyError, ValueError, IndexError) as error:
        msg = f"encoder weights must be those of a plain vision transformer, got a file without {error}."
        raise CheckpointError(msg) from None
