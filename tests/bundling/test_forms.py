"""A lower precision of a network of which one part stays float32."""

from pathlib import Path

import numpy as np
import pytest
import torch

from muad.bundles.bundle import open_bundle
from muad.bundling.export import export
from muad.bundling.networks import export_network, parts_of
from muad.configuration.run_config import load_config
from muad.detectors import PatchCore, PatchCoreConfig
from muad.device import has_fast_bf16
from muad.encoders.encoder import EncoderConfig
from muad.runtime.predictor import Predictor
from muad.runtime.sessions import onnx_session, runtimes
from muad.training.run import train

_TRANSFORMER = (
    '{name="random-custom", tap_layers=[0,1,2,3], layout={width=32, depth=4, heads=2, registers=1, position_grid=4}}'
)
_PAIR = load_config(
    overrides=["detector.name=patchcore", f'detector.encoders=[{_TRANSFORMER}, "random-resnet18"]']
).encoders
_LOWERED = pytest.mark.skipif(
    "openvino" not in runtimes() or not has_fast_bf16(torch.device("cpu")),
    reason="bfloat16 needs OpenVINO and a processor with units for it",
)


@pytest.mark.parametrize("encoders", [_PAIR, _PAIR[:1]], ids=["with a CNN", "a transformer alone"])
def test_both_parts_after_each_other_are_the_whole_and_the_search_reads_what_transformers_saw(
    encoders: tuple[EncoderConfig, ...],
) -> None:
    side = (56, 56)
    detector = PatchCore(PatchCoreConfig(encoders=encoders, resize_px=side, crop_px=side, grid_px=14))
    detector.memory = torch.randn(9, detector.memory.shape[1], generator=torch.Generator().manual_seed(1))
    network = export_network(detector)
    assert (network.outputs, network.between, network.lowered) == (("distance",), ("tokens_0", "tokens_1"), "first")
    images = torch.rand(1, 3, *side, generator=torch.Generator().manual_seed(2)).numpy()
    passed = [images]
    for part in parts_of(network):
        read = {name for node in part.graph.node for name in node.input}
        assert {given.name for given in part.graph.input} <= read  # OpenVINO drops an input that nothing reads
        passed = onnx_session(part.SerializeToString())(passed)
    (whole,) = onnx_session(network.graph.SerializeToString())([images])
    np.testing.assert_allclose(passed[0], whole, rtol=1e-5)
    np.testing.assert_allclose(whole, detector.measure(torch.from_numpy(images))["distance"].numpy(), rtol=1e-4)


@_LOWERED
def test_a_bundle_in_bfloat16_is_chosen_within_twice_what_it_was_off(tiny_data: Path, tmp_path: Path) -> None:
    wanted = (f'detector.encoders=[{_TRANSFORMER}, "random-resnet18"]', "detector.grid_px=14")
    sizes = ("detector.resize_px=[56,56]", "detector.crop_px=[56,56]", "detector.most_patches=40")
    train(tiny_data, tmp_path / "run", overrides=("detector.name=patchcore", *wanted, *sizes))
    exported = export(tmp_path / "run", tmp_path / "pair.muad", precisions=("bf16",))
    bundle = open_bundle(exported.path)
    facts = bundle.manifest.networks[""]
    assert [Path(part).name for part in facts.files.network["bf16"]] == ["network-first.onnx", "network-rest.onnx"]
    assert facts.lowered == "first"
    lowered = next(found for found in exported.parity[""] if found.form.precision == "bf16")
    limits = bundle.manifest.limits_of("bf16")
    assert limits is not None
    assert limits.score >= 2 * lowered.score_deviation > 0
    assert bundle.manifest.limits_of("fp32") == bundle.manifest.golden_limits
    bundle.close()
    paths = sorted(tiny_data.rglob("test/*/*.png"))[:2]
    run, line = (Predictor(source).predict(paths) for source in (tmp_path / "run", exported.path))
    for ours, theirs in zip(run, line, strict=True):
        assert ours.score is not None
        assert theirs.score == pytest.approx(ours.score, abs=limits.score + 1e-3)
