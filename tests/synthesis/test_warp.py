import cv2
import numpy as np
import pytest
import torch

from muad.synthesis.warp import rotate, shuffle_patches, shuffle_strips


def numbered(size: int = 16) -> torch.Tensor:
    """Two images whose every one of 8x8 parts has a number of its own."""
    parts = torch.arange(64.0).view(8, 8).repeat_interleave(size // 8, 0).repeat_interleave(size // 8, 1)
    return parts.expand(2, 3, -1, -1)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_strips_permute_rows_and_columns_independently() -> None:
    moved = shuffle_strips(numbered(), generators(0, 1))[:, 0, ::2, ::2]
    assert not torch.equal(moved[0], moved[1])
    for image in moved:
        rows, columns = image[:, 0] // 8, image[0] % 8
        assert torch.equal(image, rows[:, None] * 8 + columns[None])
        assert sorted(rows.tolist()) == sorted(columns.tolist()) == list(range(8))
        assert {int(column) % 2 for column in columns[:4]} == {0}  # even columns come first
        assert {int(column) % 2 for column in columns[4:]} == {1}


def test_rows_are_shuffled_among_all() -> None:
    """They were shuffled before the even places were told from the odd, so that no parity is left in them."""
    moved = shuffle_strips(numbered().expand(2, -1, -1, -1), generators(3, 4))[:, 0, ::2, 0] // 8
    assert any({int(row) % 2 for row in rows[:4]} == {0, 1} for rows in moved)


def test_patches_are_permuted_without_regard_to_rows() -> None:
    moved = shuffle_patches(numbered(), generators(0, 1))[:, 0, ::2, ::2]
    assert not torch.equal(moved[0], moved[1])
    for image in moved:
        assert sorted(image.flatten().tolist()) == list(range(64))
        assert len((image[0] // 8).unique()) > 1


@pytest.mark.parametrize("shuffle", [shuffle_strips, shuffle_patches])
def test_inside_of_a_part_nothing_moves(shuffle) -> None:
    images = torch.rand(1, 3, 32, 48)
    moved = shuffle(images, generators(5))
    parts = images.unflatten(2, (8, 4)).unflatten(4, (8, 6)).permute(0, 2, 4, 1, 3, 5).reshape(64, -1)
    found = moved.unflatten(2, (8, 4)).unflatten(4, (8, 6)).permute(0, 2, 4, 1, 3, 5).reshape(64, -1)
    assert (parts[:, None] == found[None]).all(dim=2).any(dim=1).all()


@pytest.mark.parametrize("degrees", [-90.0, -30.0, 17.0, 90.0])
def test_rotation_is_that_of_opencv(degrees: float) -> None:
    smooth = cv2.GaussianBlur(np.random.default_rng(0).random((40, 64)).astype(np.float32), (0, 0), 3)
    ours = rotate(torch.from_numpy(smooth)[None, None], torch.tensor([degrees]))[0, 0].numpy()
    matrix = cv2.getRotationMatrix2D((31.5, 19.5), degrees, 1.0)
    expected = cv2.warpAffine(smooth, matrix, (64, 40), flags=cv2.INTER_LINEAR)
    inside = cv2.erode(cv2.warpAffine(np.ones_like(smooth), matrix, (64, 40)), np.ones((3, 3))) > 0.99
    assert np.abs(ours - expected)[inside].max() < 0.02
    assert ours[0, 0] == (0 if abs(degrees) > 20 else ours[0, 0])


def test_no_rotation_changes_nothing() -> None:
    images = torch.rand(2, 3, 16, 24)
    assert rotate(images, torch.zeros(2)).allclose(images, atol=1e-5)
