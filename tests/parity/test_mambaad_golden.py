"""Every number recorded from the authors' MambaAD, through the parts a user's detector is made of."""

import math
import re

import torch
from torch import Tensor, nn

from muad.configuration.run_config import OptimConfig
from muad.detectors.mambaad import FusingBottleneck, LocalityEnhanced, MambaAd, MambaAdConfig, PlaneScan, ScanDecoder
from muad.detectors.types import Batch
from muad.encoders.encoder import EncoderConfig
from muad.nn.scan_orders import curve
from muad.nn.selective_scan import selective_scan
from muad.training.optimizer import build_optimizer

from .conftest import Recording, digest_error, relative_error

SYSTEM = "mambaad"
RATE = 5e-3
OFFICIAL = {  # ours, theirs
    r"^stages\.(\d+)\.(\d+)\.": r"layers_up.\1.blocks.\2.",
    r"(^|\.)small\.0\.": r"\1conv1b5.",
    r"(^|\.)small\.1\.": r"\1conv55.",
    r"(^|\.)small\.2\.": r"\1conv1a5.",
    r"(^|\.)large\.0\.": r"\1conv1b7.",
    r"(^|\.)large\.1\.": r"\1conv77.",
    r"(^|\.)large\.2\.": r"\1conv1a7.",
}
# Instance norm takes the mean away, so these biases do nothing; what gradient they have is rounding.
IDLE = re.compile(r"conv1[ab][57]\.0\.bias$")


def official(name: str) -> str:
    name = re.sub(r"^expand\.(\d+)\.", lambda found: f"layers_up.{int(found[1]) + 1}.upsample.", name)
    for ours, theirs in OFFICIAL.items():
        name = re.sub(ours, theirs, name)
    return name


def refill(recording: Recording, module: nn.Module, prefix: str) -> None:
    recording.refill((prefix + official(name), tensor) for name, tensor in module.state_dict().items())


def config_of(recording: Recording, **changes: object) -> MambaAdConfig:
    found = re.search(r"state (\d+)", recording.facts["note"])
    state = int(found[1]) if found else recording["scan.A"].shape[1]
    encoder = EncoderConfig(name="random-resnet18", tap_layers=(1, 2, 3))
    return MambaAdConfig(encoder=encoder, resize_px=(64, 64), drop_path=0.0, state=state, **changes)


def blocks_of(recording: Recording) -> tuple[int, ...]:
    """Scan blocks of each stage, from the names of what was recorded."""
    names = re.compile(r"after1\.net_s\.layers_up\.(\d+)\.blocks\.\d+\.smm_blocks\.\d+\.ln_1\.bias")
    found = [int(match[1]) for key in recording.tensors if (match := names.fullmatch(key))]
    return tuple(found.count(stage) for stage in range(4))


def test_curve_and_selective_scan_are_theirs(recording: Recording) -> None:
    for key in [key for key in recording.tensors if re.fullmatch(r"hilbert\d+\.index", key)]:
        side = math.isqrt(recording[key].numel())
        order = curve("hilbert", side, side)
        assert order.tolist() == recording[key].flatten().tolist()
        assert order.argsort().tolist() == recording[key.replace("index", "inverse")].flatten().tolist()
    inputs, delta, decay = recording["scan.u"], recording["scan.delta"], recording["scan.A"]
    write, read = recording["scan.B"][:, 0], recording["scan.C"][:, 0]
    said = selective_scan(inputs, delta, decay, write, read, recording["scan.D"], recording["scan.bias"])
    assert relative_error(said, recording["scan.out"]) < 1e-5


@torch.no_grad()
def test_plane_scan_and_module_are_theirs(recording: Recording) -> None:
    config = config_of(recording)
    tokens = recording["ss2d.in"]
    scan = PlaneScan(tokens.shape[-1], tuple(tokens.shape[1:3]), config)
    refill(recording, scan, "ss2d.")
    assert relative_error(scan(tokens), recording["ss2d.out"]) < 1e-5
    tokens = recording["lss.in"]
    module = LocalityEnhanced(tokens.shape[-1], tuple(tokens.shape[1:3]), 2, 0.0, config)
    refill(recording, module, "lss.")
    assert relative_error(module(tokens, None), recording["lss.out"]) < 1e-5


@torch.no_grad()
def test_fusing_bottleneck_is_theirs(recording: Recording) -> None:
    stages = [recording[f"mff.features.{number}"] for number in range(3)]
    bottleneck = FusingBottleneck([stage.shape[1] for stage in stages])
    refill(recording, bottleneck, "mff_oce.")
    assert relative_error(bottleneck(stages), recording["mff.out"]) < 1e-5
    refill(recording, bottleneck, "mff_oce.")
    assert relative_error(bottleneck.eval()(stages), recording["mff.out_eval"]) < 1e-5


class Given(nn.Module):
    """The recorded decoder reads what is given, and no bottleneck's output."""

    def __init__(self, fused: Tensor) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, stages: object) -> Tensor:
        return self.fused


def test_decoder_loss_gradients_and_a_step_are_theirs(recording: Recording) -> None:
    fused, targets = recording["decoder.in"], tuple(recording[f"decoder.target.{number}"] for number in range(3))
    detector = MambaAd(config_of(recording, depths=blocks_of(recording)))
    channels, grid = [target.shape[1] for target in targets], tuple(fused.shape[2:])
    detector.bottleneck, detector.decoder = Given(fused), ScanDecoder(channels, grid, detector.config)
    refill(recording, detector.decoder, "net_s.")
    for number, restored in enumerate(detector.decode(targets)):
        assert relative_error(restored, recording[f"decoder.out.{number}"]) < 1e-5
    optimizer = build_optimizer(OptimConfig(kind="adamw", lr=RATE, weight_decay=1e-4), detector)
    nobody = tuple(range(len(fused)))
    loss = detector(Batch(images=torch.empty(0), seeds=nobody, categories=("",) * len(nobody), features=targets), 0)
    assert relative_error(loss.total, recording["decoder.loss"]) < 1e-5
    loss.total.backward()
    named = {official(name): parameter for name, parameter in detector.decoder.named_parameters()}
    for name, gradient in recording.under("decoder.grad.net_s.").items():
        assert named[name].grad is not None, name
        if IDLE.search(name):
            assert float(named[name].grad.norm()) < 1e-5
            assert float(gradient[0]) < 1e-5
        else:
            assert digest_error(named[name].grad, gradient) < 1e-5, name
    optimizer.step()
    expected = recording.under("after1.net_s.")
    assert named.keys() == expected.keys()
    for name, weights in expected.items():
        slack = float(explained(named[name].grad) / weights[0])
        assert digest_error(named[name], weights) < 1e-4 + slack, name


def explained(gradient: Tensor) -> Tensor:
    """Norm of what the first step of AdamW makes of rounding in a gradient: it goes by signs, however small."""
    rounding = max(1e-5 * float(gradient.norm()), 1e-6) / gradient.numel() ** 0.5
    return (RATE * (rounding / (gradient.abs() + 1e-8)).clamp(max=2)).norm()
