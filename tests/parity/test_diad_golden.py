"""The authors' semantic-guided network, fusion block and guided denoiser at a small width; see `record_diad.py`.

What else DiAD is made of comes from diffusers, or is held against it in tests/nn/test_latent_diffusion.py.
"""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from muad.nn.latent_diffusion import GuidedDenoiser, LatentConfig

from .conftest import Recording, digest_error, relative_error

IN_RESNETS = {
    "norm1.": "in_layers.0.",
    "conv1.": "in_layers.2.",
    "time_emb_proj.": "emb_layers.1.",
    "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.",
    "conv_shortcut.": "skip_connection.",
}
PLAIN = {
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "conv_in.": "input_blocks.0.0.",
    "mid_block.resnets.0.": "middle_block.0.",
    "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
    "controlnet_cond_embedding.conv_in.": "input_hint_block.0.",
    "controlnet_cond_embedding.conv_out.": "input_hint_block.14.",
    "controlnet_mid_block.": "middle_block_out.0.",
}


def official(name: str) -> str:
    """The authors' name of a tensor of diffusers, for four levels of two blocks."""
    if found := re.match(r"fusion\.(\d)\.(\d)\.", name):
        return f"control_model.down{int(found[2]) + 1}{int(found[1]) + 1}." + name[found.end() :]
    part, _, rest = name.partition(".")
    prefix = "control_model." if part == "guide" else "model.diffusion_model."
    if ".resnets." in rest:
        for ours, theirs in IN_RESNETS.items():
            rest = re.sub(rf"(resnets\.\d\.){re.escape(ours)}", rf"\g<1>{theirs}", rest)
    for ours, theirs in PLAIN.items():
        if rest.startswith(ours):
            return prefix + theirs + rest.removeprefix(ours)
    places = [
        (r"down_blocks\.(\d)\.resnets\.(\d)\.", lambda i, j: f"input_blocks.{1 + 3 * i + j}.0."),
        (r"down_blocks\.(\d)\.attentions\.(\d)\.", lambda i, j: f"input_blocks.{1 + 3 * i + j}.1."),
        (r"down_blocks\.(\d)\.downsamplers\.(\d)\.conv\.", lambda i, j: f"input_blocks.{3 + 3 * i}.0.op."),
        (r"up_blocks\.(\d)\.resnets\.(\d)\.", lambda i, j: f"output_blocks.{3 * i + j}.0."),
        (r"up_blocks\.(\d)\.attentions\.(\d)\.", lambda i, j: f"output_blocks.{3 * i + j}.1."),
        (r"up_blocks\.(\d)\.upsamplers\.(\d)\.conv\.", lambda i, j: f"output_blocks.{3 * i + 2}.{2 if i else 1}.conv."),
        (r"controlnet_cond_embedding\.blocks\.(\d)\.()", lambda i, _: f"input_hint_block.{2 + 2 * i}."),
        (r"controlnet_down_blocks\.(\d+)\.()", lambda i, _: f"zero_convs.{i}.0."),
    ]
    for pattern, place in places:
        if found := re.match(pattern, rest):
            return prefix + place(int(found[1]), int(found[2] or 0)) + rest[found.end() :]
    raise AssertionError(name)


@pytest.fixture(scope="module")
def recorded(shared_dir: Path) -> Recording:
    with safe_open(Path(__file__).with_name("diad.safetensors"), "pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  no dictionary
        facts = opened.metadata()
    spec = importlib.util.spec_from_file_location("fill", shared_dir / "golden/compared/fill.py")
    assert spec is not None
    assert spec.loader is not None
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    return Recording(tensors, facts, fill)


def test_guidance_prediction_and_gradients_are_theirs(recorded: Recording) -> None:
    width, noised, context = recorded.number("width"), recorded["noised"], recorded["context"]
    config = LatentConfig(
        widths=(width, 2 * width, 4 * width, 4 * width),
        heads=recorded.number("heads"),
        context=tuple(context.shape[1:]),
    )
    denoiser = GuidedDenoiser(config, guide_all=False)
    recorded.refill((official(name), tensor) for name, tensor in denoiser.state_dict().items() if name != "prompt")
    with torch.no_grad():
        denoiser.prompt.copy_(context)
    shape = (len(noised), 3, recorded.number("pixels"), recorded.number("pixels"))
    images = torch.from_numpy(recorded.fill.filled("input.images", shape, recorded.number("seed")))
    said = denoiser.guidance(noised, recorded["timesteps"], denoiser.hint(images))
    for number, expected in recorded.under("guidance.").items():
        assert relative_error(said[int(number)], expected) < 1e-5, number
    predicted = denoiser(noised, recorded["timesteps"], denoiser.hint(images))
    assert relative_error(predicted, recorded["predicted"]) < 1e-5
    loss = (predicted - recorded["noise"]).square().mean()
    assert relative_error(loss, recorded["loss"]) < 1e-5
    loss.backward()
    gradients = {official(name): p.grad for name, p in denoiser.named_parameters() if name != "prompt"}
    expected = recorded.under("grad.")
    assert len(expected) > 50
    for name, gradient in expected.items():  # biases that a norm takes away have none but rounding
        assert digest_error(gradients[name], gradient, 1e-3) < 1e-5, name
