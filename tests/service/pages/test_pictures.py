"""Pictures of the pages: the heat layer is the overlay's, sizes are few, memory is bounded."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from muad.overlays import draw_overlay
from muad.service.history import History, Inspection, NewInspection, NotRecordedError, Pictures, new_id, now
from muad.service.pages.pictures import Shown, heat_layer


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Pictures, list[Inspection]]:
    """Two parts with a photograph of 700 by 300 pixels."""
    pictures, memory = Pictures(tmp_path), History(f"sqlite:///{tmp_path / 'history.sqlite'}")
    file = io.BytesIO()
    Image.fromarray(np.full((300, 700, 3), (200, 40, 40), np.uint8)).save(file, "PNG")
    new = []
    for _ in range(2):
        at = now()
        made = new_id(at)
        anomaly_map = np.linspace(0, 1, 300 * 700, dtype=np.float32).reshape(300, 700)
        kept = pictures.keep(made, at, file.getvalue(), ".png", anomaly_map)
        new.append(
            NewInspection(
                id=made, at=at, station="a", source="http", verdict="pass", width=700, height=300, kept=kept,
                colour_scale=(0.2, 0.8),
            )
        )  # fmt: skip
    recorded = memory.record(new)
    memory.close()
    return pictures, recorded


def test_heat_over_grey_is_what_an_overlay_shows_where_its_cover_is_full() -> None:
    anomaly_map = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    anomaly_map[0, 0] = np.nan
    grey = np.full((20, 20, 3), 120, np.uint8)
    layer = heat_layer(anomaly_map, (0.25, 0.75)).astype(float)
    cover = 0.7 * layer[..., 3:] / 255
    seen = ~np.isnan(anomaly_map)
    blended = grey + (layer[..., :3] - grey) * cover
    overlay = draw_overlay(grey, anomaly_map, (0.25, 0.75))
    assert np.abs(blended - overlay)[seen].max() <= 2
    assert layer[0, 0].tolist() == [0, 0, 0, 140]
    assert (layer[seen & (np.nan_to_num(anomaly_map) <= 0.25)][:, 3] == 0).all()


def test_a_photograph_is_as_wide_as_it_is_shown_and_never_enlarged(parts: tuple[Pictures, list[Inspection]]) -> None:
    pictures, (part, _) = parts
    shown = Shown(pictures, lambda _: None)
    sizes = [Image.open(io.BytesIO(shown.photo(part, width))).size for width in (160, 480, 1400)]
    assert sizes == [(160, 69), (480, 206), (700, 300)]
    with pytest.raises(NotRecordedError, match="width must be one of"):
        shown.photo(part, 161)


def test_what_is_kept_in_memory_is_bounded(parts: tuple[Pictures, list[Inspection]]) -> None:
    pictures, (first, second) = parts
    shown = Shown(pictures, lambda _: None, most_bytes=1)
    assert shown.photo(first, 160) == shown.photo(second, 160)
    pictures.path(first.kept.photo or "").unlink()
    with pytest.raises(NotRecordedError):
        shown.photo(first, 160)
    assert len(shown.photo(second, 160)) > 0


def test_heat_has_the_size_of_the_kept_map(parts: tuple[Pictures, list[Inspection]]) -> None:
    pictures, (part, _) = parts
    layer = cv2.imdecode(np.frombuffer(Shown(pictures, lambda _: None).heat(part), np.uint8), cv2.IMREAD_UNCHANGED)
    assert layer.shape == (219, 512, 4)
