"""Whatever the detector: its network and its head, apart from it, give what it predicts."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from muad.detectors import Detector, DiffusionAd, DiffusionAdConfig, PatchCore, PatchCoreConfig
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.nn.denoiser import DenoiserConfig


def make_diffusion_ad(**changes: object) -> DiffusionAd:
    denoiser = DenoiserConfig(width=8, multipliers=(1, 1), blocks_per_level=1, attention_levels=0)
    torch.manual_seed(3)
    return DiffusionAd(DiffusionAdConfig(resize_px=(32, 32), denoiser=denoiser, segmenter_width=2, **changes))


def make_patchcore(encoder: EncoderConfig) -> PatchCore:
    size = (56, 56)
    detector = PatchCore(PatchCoreConfig(encoder=encoder, resize_px=size, crop_px=size, coreset_fraction=0.5))
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        detector.fit([Batch(images=images, seeds=(), categories=("nut", "nut"))], 0, lambda *_: None)
    return detector


@pytest.fixture(
    params=["dinomaly", "dinomaly, aligned, whole map", "diffusion_ad", "told of categories", "patches", "pyramid"]
)
def detector(request: pytest.FixtureRequest, make_detector: Callable[..., Detector]) -> Detector:
    made: dict[str, Callable[[], Detector]] = {
        "dinomaly": make_detector,
        "dinomaly, aligned, whole map": lambda: make_detector(map_px=0, top_fraction=1e-6, blur_sigma_px=0.0),
        "diffusion_ad": lambda: make_diffusion_ad(noise_draws=2),
        "told of categories": lambda: make_diffusion_ad(conditioning="category", categories=("nut", "screw")),
        "patches": lambda: make_patchcore(EncoderConfig(name="random-vit-tiny")),
        "pyramid": lambda: make_patchcore(EncoderConfig(name="random-resnet18", tap_layers=(1, 2))),
    }
    return made[request.param]()


def test_head_of_network_is_what_is_predicted(detector: Detector) -> None:
    images = torch.rand(3, 3, *detector.preprocessing.crop_px, generator=torch.Generator().manual_seed(4))
    predicted = detector.predict(images)
    network = detector.network()
    with torch.no_grad():
        tensors = {name: tensor.numpy() for name, tensor in network(images).items()}
    assert all(tensor.dtype == np.float32 and len(tensor) == 3 for tensor in tensors.values())
    maps, scores = detector.map_head(tensors)
    np.testing.assert_allclose(maps, predicted.anomaly_map.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scores, predicted.score.numpy(), rtol=1e-5, atol=1e-6)
    part = np.zeros(maps.shape, bool)
    part[:, : maps.shape[1] // 2] = True
    ours = detector.score(predicted.anomaly_map, torch.from_numpy(part))
    np.testing.assert_allclose(detector.map_head.score(maps, part), ours.numpy(), rtol=1e-5, atol=1e-6)


def test_a_network_is_in_eval_mode_and_asks_for_no_gradient(detector: Detector) -> None:
    detector.train()
    network = detector.network()
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
