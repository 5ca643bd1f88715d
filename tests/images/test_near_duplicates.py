"""The same picture is found again after what happens to copies, and different parts of one kind stay apart."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from muad.images import near_duplicates
from muad.images.near_duplicates import (
    LIMIT_BITS,
    _joined,
    appearance,
    likeness,
    near_duplicate_groups,
    read_appearances,
)
from muad.images.reading import read_image
from muad.toy_factory import write_toy_factory


def _saved_anew(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file).convert("RGB"))


def _cut(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[0] // 50, image.shape[1] // 50
    return image[height:-height, width:-width]


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "saved anew": _saved_anew,
    "cut by 2 % at each side": _cut,
    "brightened": lambda image: np.clip(image * 1.2, 0, 255).astype(np.uint8),
    "at half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """Twelve free-lying parts of one kind."""
    folder = tmp_path_factory.mktemp("parts") / "data"
    write_toy_factory(
        folder, image_px=160, train_per_category=12, test_normal=1, test_per_defect=1, categories=("machined_part",)
    )
    return [read_image(file) for file in sorted((folder / "machined_part/train/good").glob("*.png"))]


def test_different_parts_of_one_kind_stay_apart(parts: list[np.ndarray]) -> None:
    assert near_duplicate_groups([appearance(image) for image in parts]) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_again(parts: list[np.ndarray], change: str) -> None:
    copies = [*parts, CHANGES[change](parts[4])]
    assert near_duplicate_groups([appearance(image) for image in copies]) == [(4, 12)]


def test_copies_of_copies_are_one_group(parts: list[np.ndarray]) -> None:
    images = [_saved_anew(parts[0]), parts[1], _cut(parts[0]), parts[0], _cut(parts[1])]
    assert near_duplicate_groups([appearance(image) for image in images]) == [(0, 2, 3), (1, 4)]


def test_many_exact_copies_are_one_group(parts: list[np.ndarray]) -> None:
    images = [*[parts[2]] * 20, parts[3]]
    assert near_duplicate_groups([appearance(image) for image in images]) == [tuple(range(20))]


def test_likeness_is_one_for_the_same_picture_and_nothing_for_an_even_surface(parts: list[np.ndarray]) -> None:
    even = appearance(np.full((40, 40, 3), 90, np.uint8))
    assert likeness(appearance(parts[0]), appearance(parts[0])) == pytest.approx(1, abs=1e-5)
    assert likeness(even, appearance(parts[0])) == pytest.approx(0, abs=0.2)
    assert likeness(even, even) == 0


def test_what_cannot_be_read_is_like_nothing(tmp_path: Path, parts: list[np.ndarray]) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    for name in ("a.png", "b.png"):
        Image.fromarray(parts[0]).save(tmp_path / name)
    paths = [tmp_path / name for name in ("a.png", "broken.png", "b.png")]
    told: list[tuple[int, int]] = []
    seen = read_appearances(paths, lambda done, total: told.append((done, total)))
    assert seen[1] is None
    assert near_duplicate_groups(seen) == [(0, 2)]
    assert near_duplicate_groups([None, seen[0]]) == []
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.shared
def test_of_sixty_real_screws_none_is_taken_for_another_and_each_cut_copy_is_found(shared_dir: Path) -> None:
    files = sorted((shared_dir / "data/screw/train/good").glob("*.jpg"))[100:160]
    images = [read_image(file) for file in files]
    assert near_duplicate_groups([appearance(image) for image in images]) == []
    copies = [_cut(image) for image in images[::10]]
    groups = near_duplicate_groups([appearance(image) for image in (*images, *copies)])
    assert groups == [(number * 10, 60 + number) for number in range(6)]


def test_groups_are_the_connected_components_of_the_pairs() -> None:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    random = np.random.default_rng(0)
    for _ in range(50):
        count = int(random.integers(2, 60))
        pairs = sorted({tuple(sorted(random.choice(count, 2, replace=False).tolist())) for _ in range(count)})
        graph = coo_array((np.ones(len(pairs)), np.array(pairs).T), shape=(count, count))
        labels = connected_components(graph, directed=False)[1]
        groups = [tuple(np.flatnonzero(labels == label).tolist()) for label in range(labels.max() + 1)]
        assert _joined(pairs) == [group for group in groups if len(group) > 1]


@pytest.mark.parametrize("count", [2, 7, 90])
def test_candidates_are_the_nearest_six_of_equally_near_ones_the_first(count: int, monkeypatch) -> None:
    monkeypatch.setattr(near_duplicates, "_TABLE", 200)  # a few rows at a time
    random = np.random.default_rng(count)
    signs = (random.random(255) < 0.5) ^ (random.random((count, 255)) < 0.16)
    signs[: count // 2] = signs[0]
    bits = np.packbits(np.pad(signs, ((0, 0), (1, 0))), axis=1).view(np.uint64)
    expected = set()
    for row in range(count):
        away = sorted((int((signs[row] != signs[other]).sum()), other) for other in range(count) if other != row)
        expected |= {(min(row, other), max(row, other)) for distance, other in away[:6] if distance <= LIMIT_BITS}
    assert near_duplicates._candidates(bits) == sorted(expected)


def test_images_that_are_asked_about_again_are_not_laid_over_each_other_again(
    parts: list[np.ndarray], monkeypatch
) -> None:
    seen = [appearance(image) for image in (*parts[:4], _cut(parts[0]))]
    known: dict[tuple[int, int], float] = {}
    groups = near_duplicate_groups(seen, known)
    assert groups == [(0, 4)]
    monkeypatch.setattr(near_duplicates, "likeness", lambda *_: pytest.fail("was known"))
    assert near_duplicate_groups(seen, known) == groups
    assert near_duplicate_groups([seen[0], seen[4]], known) == [(0, 1)]
