from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from muad.errors import ConfigError
from muad.synthesis import Synthesis, SynthesisConfig, Synthetic


def make(images: torch.Tensor, seeds: range, categories: tuple[str, ...] | None = None, **changes: object) -> Synthetic:
    config = SynthesisConfig(**({"max_cells_exponent": 3} | changes))
    return Synthesis(config)(images, tuple(seeds), categories or ("part",) * len(images))


@pytest.fixture(scope="module")
def squares() -> torch.Tensor:
    """Bright squares in the middle of a dark background, with a little noise."""
    images = torch.full((24, 3, 64, 64), 0.2)
    images[:, :, 16:48, 16:48] = torch.tensor([0.8, 0.7, 0.3])[:, None, None]
    images += 0.01 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images * 255).round() / 255


@pytest.fixture(scope="module")
def made(squares: torch.Tensor) -> Synthetic:
    return make(squares, range(24), probability=1.0)


def test_outside_of_the_mask_nothing_changes(squares: torch.Tensor, made: Synthetic) -> None:
    outside = (made.masks == 0).expand_as(squares)
    assert torch.equal(made.images[outside], squares[outside])
    changed = (made.images != squares).any(dim=1, keepdim=True)
    assert (changed & (made.masks > 0)).sum() > 0.9 * (made.masks > 0).sum()
    assert 0 <= made.images.min() < made.images.max() <= 1


def test_anomalies_stay_on_the_object(made: Synthetic) -> None:
    assert made.is_anomalous.all()
    background = torch.ones(64, 64, dtype=torch.bool)
    background[15:49, 15:49] = False
    assert (made.masks[:, 0, background] == 0).all()


def test_labels_say_whether_there_is_a_mask(squares: torch.Tensor) -> None:
    made = make(squares, range(100, 124), probability=0.5)
    assert torch.equal(made.is_anomalous, made.masks.flatten(1).sum(dim=1) > 0)
    normal = ~made.is_anomalous
    assert 5 < normal.sum() < 19
    assert torch.equal(made.images[normal], squares[normal])


def test_rate_is_the_probability() -> None:
    images = torch.rand(1, 3, 32, 32).expand(400, -1, -1, -1)
    made = make(images, range(400), probability=0.5, foreground="whole_image", max_cells_exponent=2)
    assert made.is_anomalous.float().mean().item() == pytest.approx(0.5, abs=0.075)
    assert not make(images[:50], range(50), probability=0.0).is_anomalous.any()


def test_an_image_depends_on_itself_and_its_seed_alone(squares: torch.Tensor, made: Synthetic) -> None:
    torch.manual_seed(99)  # the global stream has no part in it
    alone = make(squares[7:9], range(7, 9), probability=1.0)
    assert alone.images.allclose(made.images[7:9], atol=1e-6)
    assert torch.equal(alone.masks, made.masks[7:9])
    other = make(squares[7:9], range(70, 72), probability=1.0)
    assert not torch.equal(other.masks, alone.masks)


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_opacity_is_how_much_of_the_anomaly_is_seen(squares: torch.Tensor, opacity: float) -> None:
    """Images of one seed differ by the opacity alone, so that the blend can be told from its ends."""
    blend, full = (make(squares[:4], range(4), probability=1.0, opacity=(o, o)) for o in (opacity, 1.0))
    assert torch.equal(blend.masks, full.masks)
    assert blend.images.allclose((1 - opacity) * squares[:4] + opacity * full.images, atol=1e-5)


def test_own_anomalies_have_the_objects_colours_and_textures_have_none(squares: torch.Tensor) -> None:
    """Shuffled parts of a black image are grey levels alone; foreign textures are coloured."""
    grey = squares.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)

    def coloured(**changes: object) -> torch.Tensor:
        made = make(grey, range(24), probability=1.0, opacity=(1.0, 1.0), **changes)
        return (made.images.amax(dim=1) - made.images.amin(dim=1) > 0.05).flatten(1).any(dim=1)

    foreign = coloured(self_probability=0.0).float().mean()
    own = coloured(self_probability=1.0).float().mean()  # gamma of each channel and hue still colour some
    assert own < 0.7 * foreign
    as_texture = coloured(self_probability=1.0, texture_categories=("part",))
    assert as_texture.float().mean() > own


@pytest.mark.parametrize("shuffle", ["strips", "patches"])
def test_both_ways_of_shuffling_work(squares: torch.Tensor, shuffle: str) -> None:
    made = make(squares, range(24), probability=1.0, self_probability=1.0, shuffle=shuffle)
    assert made.is_anomalous.all()
    assert torch.isfinite(made.images).all()


def test_images_without_a_background_are_textures_unless_told_otherwise() -> None:
    images = torch.rand(24, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    everywhere = make(images, range(24), probability=1.0).masks.sum(dim=(0, 1))
    assert everywhere[:8].sum() > 0
    assert everywhere[:, -8:].sum() > 0
    told, left = (
        make(images, range(24), probability=1.0, self_probability=1.0, texture_categories=known)
        for known in (("part",), ())
    )
    assert torch.equal(told.masks, make(images, range(24), probability=1.0).masks)
    assert not torch.equal(told.images, left.images)


def test_textures_come_from_the_folder(squares: torch.Tensor, tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20, 3), 255, np.uint8)).save(tmp_path / "white.png")
    settings = {"probability": 1.0, "self_probability": 0.0}
    assert not torch.equal(
        make(squares, range(24), texture_dir=tmp_path, **settings).images, make(squares, range(24), **settings).images
    )
    with pytest.raises(ConfigError, match="texture_dir"):
        make(squares, range(24), texture_dir=tmp_path / "absent", **settings)


def test_sizes_that_cannot_be_cut_into_parts_are_refused() -> None:
    with pytest.raises(ConfigError, match="resize_px must be multiples of 8"):
        make(torch.rand(1, 3, 60, 64), range(1))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"probability": 1.5}, "probability"),
        ({"self_probability": -1}, "self_probability"),
        ({"opacity": (0.8, 0.2)}, "opacity"),
        ({"max_cells_exponent": 9}, "max_cells_exponent"),
        ({"threshold": 1.0}, "threshold"),
        ({"attempts": 0}, "attempts"),
        ({"foreground": "whole_image", "foreground_dir": Path("masks")}, "foreground_dir"),
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, object], name: str) -> None:
    with pytest.raises(ConfigError, match=f"detector.synthesis.{name} must be"):
        SynthesisConfig(**changes)
