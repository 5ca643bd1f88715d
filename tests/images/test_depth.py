"""Depth files as pictures, against the published conversion written out."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from muad.errors import DataError
from muad.images.depth import depth_to_rgb, fill_gaps, read_depth


def _write(path: Path, values: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), values)
    return path


DISTANCE = np.array([[0, 400.5, 410], [420, 0, 430], [440, 450, 460]], np.float32)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", np.uint16), ("a.tiff", np.uint16), ("a.tiff", np.uint32), ("a.tif", np.int32),
                       ("a.tiff", np.float32), ("a.tiff", np.float64)],
)  # fmt: skip
def test_sixteen_and_thirty_two_bits_keep_their_numbers(tmp_path: Path, name: str, kind: type) -> None:
    found = read_depth(_write(tmp_path / name, DISTANCE.astype(kind)))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found), DISTANCE == 0)
    np.testing.assert_array_equal(np.nan_to_num(found), DISTANCE.astype(kind).astype(np.float32))


def test_of_points_the_last_coordinate_counts_and_what_is_no_measurement_is_marked(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(1, 2, (5, 7, 3)).astype(np.float32)
    points[0, :5, 2] = [0, -1, np.nan, np.inf, 3]
    found = read_depth(_write(tmp_path / "a.tiff", points[..., ::-1].copy()))
    np.testing.assert_array_equal(np.isnan(found[0, :5]), [True, True, True, True, False])
    np.testing.assert_array_equal(found[1:], points[1:, :, 2])


def test_what_is_no_depth_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must have 16 or 32 bits, got 8"):
        read_depth(_write(tmp_path / "a.png", np.ones((4, 4), np.uint8)))
    with pytest.raises(DataError, match="must be a readable file"):
        read_depth(tmp_path / "none.png")
    (tmp_path / "b.tiff").write_bytes(b"II*\0 and then nothing")
    with pytest.raises(DataError, match="cannot be decoded"):
        read_depth(tmp_path / "b.tiff")
    (tmp_path / "c.png").write_bytes(b"")
    with pytest.raises(DataError, match="must not be empty"):
        read_depth(tmp_path / "c.png")
    with pytest.raises(DataError, match="got 4"):
        read_depth(_write(tmp_path / "d.tiff", np.ones((4, 4, 4), np.float32)))


def test_planes_one_after_the_other_are_refused_for_the_decoder_would_mix_them_up(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tiff", np.ones((4, 5, 3), np.float32))
    assert read_depth(path).shape == (4, 5)
    content = bytearray(path.read_bytes())
    content[content.index(bytes([28, 1, 3, 0])) + 8] = 2  # tag 284, a number of 16 bits
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="planar configuration 1"):
        read_depth(path)


def test_gaps_close_from_their_rims_as_published(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    depth = rng.uniform(1, 2, (12, 15)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.5] = 0
    depth[3:9, 4:11] = 0
    expected = depth.copy()
    for _ in range(3):  # the authors' loop, rows and columns at the edge included
        padded, before = np.pad(expected, 1), expected.copy()
        for row, column in zip(*np.where(before == 0), strict=True):
            around = padded[row : row + 3, column : column + 3]
            if (around > 0).any():
                expected[row, column] = around.sum() / (around > 0).sum()
    found = fill_gaps(np.where(depth > 0, depth, np.nan), 3)
    np.testing.assert_allclose(np.nan_to_num(found), expected, rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(fill_gaps(np.where(depth > 0, depth, np.nan), 0)), depth == 0)


def test_the_picture_is_that_of_the_published_conversion() -> None:
    depth = np.random.default_rng(2).uniform(300, 600, (20, 30)).astype(np.float32)
    depth[:5] = 0
    measured = depth > 0
    share = (depth - depth[measured].min()) / (depth.max() - depth[measured].min())
    brightness = np.where(measured, 1 - share * 0.8, 0)
    expected = cv2.applyColorMap((brightness * 255).astype(np.uint8), cv2.COLORMAP_HOT)[..., ::-1]
    found = depth_to_rgb(np.where(measured, depth, np.nan), None, "depth")
    assert np.abs(found.astype(int) - expected).max() <= 2  # of float32 and float64, at the edge of a level
    assert (found != expected).mean() < 0.01
    assert not found[:5].any()


def test_a_range_of_ones_own_shows_that_a_part_stands_closer_as_a_whole() -> None:
    depth = np.linspace(400, 410, 40, dtype=np.float32).reshape(5, 8)
    own = [depth_to_rgb(depth + shift, None, "depth") for shift in (0, 5)]
    fixed = [depth_to_rgb(depth + shift, (390, 430), "depth") for shift in (0, 5)]
    np.testing.assert_array_equal(own[0], own[1])
    assert (fixed[0] != fixed[1]).any()
    np.testing.assert_array_equal(depth_to_rgb(depth, (500, 600), "depth"), np.full((5, 8, 3), 255))


def test_flat_depth_is_a_picture_and_nothing_measured_is_a_fault() -> None:
    assert depth_to_rgb(np.full((3, 3), 7, np.float32), None, "depth").min() == 255
    with pytest.raises(DataError, match="depth of a dead sensor must have a measured pixel"):
        depth_to_rgb(np.full((3, 3), np.nan, np.float32), None, "depth of a dead sensor")


def test_features_of_two_senses_are_averaged_layer_by_layer() -> None:
    from muad.encoders.encoder import EncoderConfig, build_encoder
    from muad.encoders.families import VitLayout

    layout = VitLayout(width=32, depth=4, heads=2, registers=1, position_grid=4)
    config = EncoderConfig(name="random-custom", tap_layers=(1, 3), layout=layout)
    encoder = build_encoder(config, (28, 28))
    first, second = torch.randn(2, 3, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    joined = encoder(torch.cat([first, second], dim=1))
    assert len(joined) == 2
    for both, one, other in zip(joined, encoder(first), encoder(second), strict=True):
        torch.testing.assert_close(both, (one + other) / 2, atol=1e-5, rtol=1e-5)
