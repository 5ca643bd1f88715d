from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from muad.errors import ConfigError
from muad.images.preprocessing import Preprocessing
from muad.synthesis.foreground import Foregrounds, foreground_mask, view_digest, write_foregrounds
from muad.types import Record

SIZE = 96


def part(seed: int = 0, *, hole: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A disc on a background lit from one side, and where it is."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.linspace(90, 150, SIZE)[None, :, None], SIZE, 0).repeat(3, 2)
    truth = np.zeros((SIZE, SIZE), np.uint8)
    cv2.circle(truth, (SIZE // 2 + seed, SIZE // 2), 28, 1, -1)
    image[truth > 0] = (200, 60, 40)
    if hole:
        image[44:52, 44:52] = 120
    return (image + rng.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8), truth.astype(bool)


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.mark.parametrize("grabcut", [False, True])
@pytest.mark.parametrize("hole", [False, True])
def test_an_object_is_found_on_an_unevenly_lit_background(grabcut: bool, hole: bool) -> None:
    image, truth = part(hole=hole)
    mask = foreground_mask(image, grabcut=grabcut)
    assert mask is not None
    assert overlap(mask, truth) > 0.9


def test_an_object_cut_off_by_the_border_is_found() -> None:
    image, _ = part()
    image, truth = np.full_like(image, 120), np.zeros((SIZE, SIZE), bool)
    truth[40:60, :] = True
    image[truth] = (20, 160, 60)
    mask = foreground_mask(image)
    assert mask is not None
    assert overlap(mask, truth) > 0.9


@pytest.mark.parametrize("kind", ["noise", "stripes", "even"])
def test_textures_have_no_foreground(kind: str) -> None:
    rng = np.random.default_rng(0)
    pattern = {
        "noise": rng.integers(0, 255, (SIZE, SIZE, 3)),
        "stripes": np.tile(np.repeat([60, 180], 4), SIZE // 8)[None, :, None] + rng.integers(0, 9, (SIZE, SIZE, 3)),
        "even": 120 + rng.integers(0, 9, (SIZE, SIZE, 3)),
    }[kind]
    assert foreground_mask(pattern.astype(np.uint8)) is None


def tensor(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def test_masks_come_in_the_shape_of_their_images() -> None:
    image, truth = part()
    texture = np.random.default_rng(0).integers(0, 255, image.shape, dtype=np.uint8)
    foregrounds = Foregrounds()
    masks, apart = foregrounds.of(tensor(image, texture))
    assert masks.shape == (2, 1, SIZE, SIZE)
    assert apart == [True, False]
    assert overlap(masks[0, 0].numpy() > 0.5, truth) > 0.9
    assert (masks[1] == 1).all()
    assert torch.equal(foregrounds.of(tensor(texture, image))[0], masks.flip(0))


@pytest.fixture
def records(tmp_path: Path) -> tuple[Record, ...]:
    found = []
    for index in range(3):
        path = tmp_path / "data" / f"part-{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(part(index)[0]).resize((2 * SIZE, SIZE)).save(path)
        found.append(Record(path=path, category="disc", split="train", is_anomalous=False))
    return tuple(found)


PREPROCESSING = Preprocessing(resize_px=(64, 64), crop_px=(64, 64), mean=(0, 0, 0), std=(1, 1, 1))


def views(records: tuple[Record, ...]) -> torch.Tensor:
    images = [np.asarray(Image.open(record.path)) for record in records]
    return torch.from_numpy(PREPROCESSING.normalise(np.stack([PREPROCESSING.view(image) for image in images])))


def test_masks_are_written_once_and_found_again_by_their_images(records: tuple[Record, ...], tmp_path: Path) -> None:
    seen = []
    out = tmp_path / "masks"
    (summary,) = write_foregrounds(
        records, PREPROCESSING, out, grabcut=False, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert (summary.category, summary.images, summary.with_background) == ("disc", 3, 3)
    assert 0.2 < summary.mean_share < 0.35
    assert len(list((out / "disc").glob("part-0-*.png"))) == 1
    masks, apart = Foregrounds(out).of(views(records).flip(0))
    assert torch.equal(masks.flip(0), Foregrounds().of(views(records))[0])
    assert apart == [True] * 3


def test_existing_masks_are_adopted(records: tuple[Record, ...], tmp_path: Path) -> None:
    given = np.zeros((SIZE, 2 * SIZE), np.uint8)
    given[:, : SIZE // 2] = 255
    Image.fromarray(given).save(tmp_path / "given.png")
    write_foregrounds(records, PREPROCESSING, tmp_path / "masks", source=lambda _: tmp_path / "given.png")
    masks, _ = Foregrounds(tmp_path / "masks").of(views(records))
    assert (masks[:, :, :, :16] == 1).all()
    assert (masks[:, :, :, 17:] == 0).all()


def test_what_stands_out_of_a_few_textures_is_no_object(records: tuple[Record, ...], tmp_path: Path) -> None:
    for record in records[1:]:
        texture = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
        Image.fromarray(texture).save(record.path)
    (summary,) = write_foregrounds(records, PREPROCESSING, tmp_path / "masks", grabcut=False)
    assert Foregrounds().of(views(records))[1] == [True, False, False]  # each decides for itself
    assert (summary.with_background, summary.mean_share) == (0, 1.0)
    assert Foregrounds(tmp_path / "masks").of(views(records))[1] == [False] * 3
    (most,) = write_foregrounds(records[:2], PREPROCESSING, tmp_path / "others", grabcut=False)
    assert most.with_background == 1


def test_a_mended_mask_is_used_and_a_white_one_means_no_background(records: tuple[Record, ...], tmp_path: Path) -> None:
    write_foregrounds(records, PREPROCESSING, tmp_path / "masks", grabcut=False)
    (file,) = (tmp_path / "masks").rglob("part-1-*.png")
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(file)
    assert Foregrounds(tmp_path / "masks").of(views(records))[1] == [True, False, True]


def test_images_without_a_mask_in_the_folder_are_refused(records: tuple[Record, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="foreground_dir must be a folder of masks"):
        Foregrounds(tmp_path / "absent")
    write_foregrounds(records[:2], PREPROCESSING, tmp_path / "masks", grabcut=False)
    with pytest.raises(ConfigError, match="must hold a mask of 64x64 px for every training image"):
        Foregrounds(tmp_path / "masks").of(views(records))


def test_digests_tell_views_apart() -> None:
    first, second = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    second[1, 2, 0] = 1
    assert view_digest(first) == view_digest(first.copy()) != view_digest(second)
