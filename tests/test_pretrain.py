"""The pretraining script: runs on a folder of photographs, resumes exactly, writes what the encoder reads."""

import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from muad.encoders.encoder import EncoderConfig, build_encoder

SCRIPTS = Path(__file__).parents[1] / "pretrain"


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        coarse = rng.integers(0, 255, (8, 10, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{i}.jpg"), cv2.resize(coarse, (80, 64)))
    return folder


@pytest.fixture
def pretrain(monkeypatch, photographs, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import pretrain as script

    def run(name, *extra):
        out = tmp_path / name / "weights.safetensors"
        options = "--drawings 4 --pack-px 64 --batch-views 6 --view-px 28 42 --view-until 1 --steps 2 --decay-steps 1"
        options += " --min-extent 0.35 0.6 --log-every 1 --save-every 1 --precision 32-true"
        paths = ["--images", str(photographs), "--run-dir", str(tmp_path / name / "run"), "--out", str(out)]
        monkeypatch.setattr(sys, "argv", ["pretrain.py", *options.split(), *paths, *extra])
        script.main()
        return out

    return run


def test_a_broken_run_ends_with_the_tensors_of_an_unbroken_one(pretrain):
    unbroken = load_file(pretrain("unbroken"))
    pretrain("broken", "--minutes", "0")
    broken = load_file(pretrain("broken"))
    assert all(torch.equal(unbroken[name], broken[name]) for name in unbroken)


@pytest.mark.parametrize(("given", "expected"), [([0.35], [0.35, 0.35]), ([0.35, 0.6], [0.35, 0.6])])
def test_every_view_size_has_its_smallest_part_of_an_image(pretrain, given, expected):
    import pretrain as script

    args = SimpleNamespace(method="dense", damaged=0.6, colour=1.0, view_px=[28, 42], view_until=[1], min_extent=given)
    shown = [script.view_config(args, script.stage_at(step, args)) for step in (0, 1)]
    assert [(each.view_px, each.min_extent) for each in shown] == list(zip([28, 42], expected, strict=True))


def test_the_written_file_is_an_encoder_of_at_most_12_megabytes(pretrain):
    file = pretrain("one")
    assert file.stat().st_size <= 12e6
    encoder = build_encoder(EncoderConfig(name="muad-tiny", weights=file), (28, 42))
    tokens = encoder(torch.zeros(1, 3, 28, 42))
    assert all(t.shape == (1, 11, 192) and t.isfinite().all() for t in tokens)


@pytest.fixture
def parts(monkeypatch):
    """The modules of the recipe, importable as the script imports them."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import defects
    import energies
    import network
    import objectives
    import views

    return SimpleNamespace(defects=defects, energies=energies, network=network, objectives=objectives, views=views)


def grating(angle, phase, brightness=0.5):
    line = torch.arange(56.0)
    y, x = torch.meshgrid(line, line, indexing="ij")
    wave = torch.cos(2 * torch.pi * (x * np.cos(angle) + y * np.sin(angle)) / 5.5 + phase)
    return (brightness * (1 + 0.4 * wave) - 0.45).expand(3, 56, 56) / 0.225


def test_training_begins_with_features_that_tell_a_texture_from_another_and_not_from_itself_moved_or_relit(parts):
    trunk = parts.network.Trunk(4, 0.01, 0.0)
    sample = torch.randn(40, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    parts.energies.start_from_energies(trunk, F.avg_pool2d(sample, 3, 1, 1))
    shown = [grating(0.4, 0), grating(0.4, 2), grating(0.4, 0, brightness=0.4), grating(0.4 + np.pi / 4, 0)]
    with torch.no_grad():
        tokens = trunk(torch.stack(shown), (0, 0), None)[4][:, 5:].flatten(1)
    plain, moved, relit, turned = F.normalize(tokens, dim=1)
    assert 1 - plain @ moved < 0.25 * (1 - plain @ turned)
    assert 1 - plain @ relit < 0.25 * (1 - plain @ turned)


def test_defects_are_told_patch_by_patch(parts):
    images = torch.rand(64, 3, 42, 42, generator=torch.Generator().manual_seed(0))
    damaged = parts.defects.damage(images, 0.6, 14, torch.Generator().manual_seed(1))
    change = F.max_pool2d((damaged.images - images).abs().mean(1, keepdim=True), 14)
    assert (change[(damaged.hit + damaged.unsure) == 0] < parts.defects.FAINT).all()
    assert (change[damaged.hit > 0] > parts.defects.VISIBLE).all()
    assert not (damaged.hit * damaged.unsure).any()
    assert 0.4 < (damaged.hit + damaged.unsure).amax((1, 2, 3)).mean() < 0.9
    untouched = parts.defects.damage(images, 0.0, 14, torch.Generator().manual_seed(1))
    assert untouched.images.equal(images)
    assert not (untouched.hit + untouched.unsure).any()


def test_losses_on_defects_are_small_for_features_that_tell_them(parts):
    images = (torch.rand(6, 64, 64, 3, generator=torch.Generator().manual_seed(0)) * 255).byte()
    views = parts.views.draw_views(images, parts.views.ViewConfig(view_px=42), 14, torch.Generator().manual_seed(1))
    hit = views.damage[:, 0].flatten(1)
    assert 0 < hit.mean() < 1
    telling = torch.zeros(12, 9, 192)
    telling[..., 0], telling[..., 1] = 1 - hit, hit
    blind = torch.ones(12, 9, 192)
    for loss in (parts.objectives.Novelty(), parts.objectives.Mark()):
        with torch.no_grad():
            if isinstance(loss, parts.objectives.Mark):
                loss.direction.copy_(telling.flatten(0, 1)[hit.flatten() > 0][0])
            assert loss(telling, views) < 0.8 * loss(blind, views)


def test_written_weights_can_be_gone_on_from(parts, tmp_path):
    written, begun = parts.network.Trunk(4, 0.1, 0.05), parts.network.Trunk(4, 0.1, 0.05)
    torch.nn.init.normal_(written.vit.cls_token)
    parts.network.export(written, tmp_path / "weights.safetensors")
    parts.network.restore(begun, tmp_path / "weights.safetensors")
    views = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        before, after = (trunk(views, (1, 2), None)[-1] for trunk in (written, begun))
    assert after.allclose(before, atol=0.02)
    with pytest.raises(ValueError, match=r"--start must hold positions of shape \[1, 26, 192\], got \[1, 17, 192\]"):
        parts.network.restore(parts.network.Trunk(5, 0.1, 0.05), tmp_path / "weights.safetensors")
