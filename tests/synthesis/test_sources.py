from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from muad.errors import ConfigError, DataError
from muad.synthesis.procedural import KINDS, procedural_textures
from muad.synthesis.sources import ProceduralTextures, TextureFolder

CPU = torch.device("cpu")


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_texture_fills_the_image_and_follows_its_seed(kind) -> None:
    first, again, other = (kind(torch.Generator().manual_seed(seed), (32, 48)) for seed in (1, 1, 2))
    assert first.shape == (3, 32, 48)
    assert first.flatten(1).std(dim=1).max() > 0.01
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_textures_are_of_all_kinds_and_independent_of_their_batch() -> None:
    together = ProceduralTextures().draw(generators(*range(6)), (32, 32), CPU)
    assert together.shape == (6, 3, 32, 32)
    assert 0 <= together.min() < together.max() <= 1
    assert torch.equal(procedural_textures(generators(4), (32, 32), CPU)[0], together[4])
    kinds = {int(torch.randint(len(KINDS), (1,), generator=generator)) for generator in generators(*range(40))}
    assert kinds == set(range(len(KINDS)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(("banded/a.jpg", "banded/b.png", "dotted/c.jpg")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((40, 60, 3), 80 * index + 10, np.uint8)).save(tmp_path / name)
    (tmp_path / "readme.txt").write_text("not a texture")
    return tmp_path


def test_a_folder_gives_each_of_its_photographs_at_the_size_asked_for(folder: Path) -> None:
    source = TextureFolder(folder)
    drawn = source.draw(generators(*range(30)), (32, 24), CPU)
    assert drawn.shape == (30, 3, 32, 24)
    levels = (drawn.mean(dim=(1, 2, 3)) * 255).round()
    assert set(levels.tolist()) == {10, 90, 170}
    assert torch.equal(source.draw(generators(7), (32, 24), CPU)[0], drawn[7])
    assert source.draw(generators(7), (16, 16), CPU).shape == (1, 3, 16, 16)


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    for empty in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match="texture_dir must be a folder with images"):
            TextureFolder(empty)


def test_a_damaged_photograph_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        TextureFolder(tmp_path).draw(generators(0), (32, 32), CPU)
