"""Patch features are the plain definition's: windows, averages of runs, bilinear enlargement."""

import pytest
import torch
import torch.nn.functional as F

from muad.nn.patches import embed_patches


def windows_by_loops(stage: torch.Tensor, size: int) -> torch.Tensor:
    """[b, h, w, c, size, size]."""
    batch, channels, rows, columns = stage.shape
    half = size // 2
    out = torch.zeros(batch, rows, columns, channels, size, size)
    for row in range(rows):
        for column in range(columns):
            for down in range(-half, half + 1):
                for right in range(-half, half + 1):
                    if 0 <= row + down < rows and 0 <= column + right < columns:
                        out[:, row, column, :, down + half, right + half] = stage[:, :, row + down, column + right]
    return out


@pytest.mark.parametrize(("stage_width", "width"), [(9, 6), (8, 8), (12, 5)])
def test_patches_are_averages_over_runs_of_windows(stage_width: int, width: int) -> None:
    """In the authors' order: every value of a window is enlarged first, and averaged then."""
    generator = torch.Generator().manual_seed(1)
    fine, coarse = torch.randn(2, 4, 6, 4, generator=generator), torch.randn(2, 6, 3, 2, generator=generator)
    parts = []
    for stage in (fine, coarse):
        placed = windows_by_loops(stage, 3).flatten(3).permute(0, 3, 1, 2)
        placed = F.interpolate(placed, (6, 4), mode="bilinear", align_corners=False)
        flat = placed.flatten(2).transpose(1, 2).flatten(0, 1)[:, None]
        parts.append(F.adaptive_avg_pool1d(flat, stage_width)[:, 0])
    expected = F.adaptive_avg_pool1d(torch.cat(parts, dim=1)[:, None], width)[:, 0].unflatten(0, (2, 24))
    found = embed_patches([fine, coarse], stage_width=stage_width, width=width)
    assert found.shape == (2, 24, width)
    assert torch.allclose(found, expected, atol=1e-6)


def test_the_window_may_be_of_another_size() -> None:
    stage = torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(2))
    alone = embed_patches([stage], stage_width=2, width=2, neighbourhood=1)
    assert torch.equal(alone, stage.flatten(2).transpose(1, 2))
    wide = embed_patches([stage], stage_width=50, width=50, neighbourhood=5)
    assert torch.equal(wide[0, 12], stage.flatten())
