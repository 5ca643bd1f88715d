"""Networks of detectors as ONNX."""

import dataclasses

import numpy as np
import onnxruntime
import pytest
import torch

from muad.bundling.networks import export_network
from muad.detectors import DiffusionAd, DiffusionAdConfig
from muad.encoders.product_encoder import product_encoder
from muad.errors import ConfigError
from muad.nn.denoiser import DenoiserConfig
from muad.runtime.heads import GridHead


def diffusion_ad(**changes: object) -> DiffusionAd:
    denoiser = DenoiserConfig(width=8, multipliers=(1, 1), blocks_per_level=1, attention_levels=0)
    torch.manual_seed(3)
    detector = DiffusionAd(DiffusionAdConfig(resize_px=(32, 32), denoiser=denoiser, segmenter_width=1, **changes))
    for parameter in detector.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return detector


def test_diffusion_ad_runs_elsewhere_with_its_noise_for_any_number_of_images() -> None:
    detector = diffusion_ad()
    exported = export_network(detector)
    assert exported.takes_any_number
    session = onnxruntime.InferenceSession(exported.graph.SerializeToString())
    for count in (1, 3):
        images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(count))
        (found,) = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(found, detector.predict(images).anomaly_map.numpy(), atol=1e-6)


def test_a_part_that_cannot_be_exported_is_named() -> None:
    told = diffusion_ad(conditioning="category", categories=("nut",))
    with pytest.raises(
        ConfigError, match=r"got DiffusionAd, which cannot because of detector.conditioning = 'category'"
    ):
        export_network(told)


@dataclasses.dataclass(frozen=True)
class OwnHead(GridHead):
    """One that the line does not have."""


def test_a_head_of_another_package_is_refused_by_its_name() -> None:
    detector = diffusion_ad()
    detector.map_head = OwnHead(grids=("probability",), input_px=(32, 32))
    with pytest.raises(ConfigError, match=r"map_head must be one of muad.runtime.heads to be exported, got .*OwnHead"):
        export_network(detector)


def test_products_look_the_same_without_torch(made) -> None:
    facts = made.bundle.manifest.recogniser
    content = made.bundle.read(facts.member)
    pixels = np.random.default_rng(2).integers(0, 256, (3, facts.side_px, facts.side_px, 3), np.uint8)
    (tokens,) = onnxruntime.InferenceSession(content).run([facts.output], {facts.input: pixels})
    encoder = product_encoder("cpu")
    np.testing.assert_allclose(tokens, encoder(torch.from_numpy(pixels)).numpy(), atol=1e-3)
    assert (facts.fingerprint, facts.prefix) == (encoder.fingerprint, encoder.prefix_tokens)
