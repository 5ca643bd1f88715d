"""Predictor: the same image gives the same answer however it comes in, and the map lies on the photograph."""

import dataclasses
import json
import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from muad import Photograph, Predictor, learn_products
from muad.checkpoints.checkpoint import load_detector
from muad.datasets.index import open_catalog
from muad.errors import CheckpointError, ConfigError
from muad.images.reading import ImageBytes, read_image
from muad.toy_factory import write_toy_factory


@pytest.fixture(scope="module")
def predictor(tiny_run: Path) -> Predictor:
    return Predictor(tiny_run, device="cpu")


@pytest.fixture(scope="module")
def paths(tiny_data: Path) -> list[Path]:
    return sorted(tiny_data.glob("*/test/*/*.png"))


def test_paths_strings_arrays_and_pil_images_give_the_same(predictor: Predictor, paths: list[Path]) -> None:
    by_path = predictor.predict(paths[0])[0]
    pixels = read_image(paths[0])
    pictures = Image.open(paths[0]), Image.open(paths[0]).convert("RGBA")
    for form in (str(paths[0]), ImageBytes(paths[0].read_bytes(), "sent"), pixels, *pictures):
        (other,) = predictor.predict(form)
        assert other.score == by_path.score
        np.testing.assert_array_equal(other.anomaly_map, by_path.anomaly_map)
        np.testing.assert_array_equal(other.image, pixels)
    assert by_path.path == paths[0]
    assert predictor.predict(pixels)[0].path is None


def test_a_grey_array_is_an_image_without_colour(predictor: Predictor) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)
    assert predictor.predict(grey)[0].score == predictor.predict(np.stack([grey] * 3, axis=2))[0].score


def test_predictions_do_not_depend_on_batch_size_or_order(predictor: Predictor, paths: list[Path]) -> None:
    alone = predictor.predict(paths, batch_size=1)
    together = predictor.predict(paths[::-1], batch_size=5)[::-1]
    assert [found.path for found in together] == paths
    for one, other in zip(alone, together, strict=True):
        assert other.score == pytest.approx(one.score, rel=1e-5)
        np.testing.assert_allclose(other.anomaly_map, one.anomaly_map, rtol=1e-4, atol=1e-6)


def test_score_and_map_are_those_of_the_detector(predictor: Predictor, tiny_run: Path, paths: list[Path]) -> None:
    detector = load_detector(tiny_run)
    view = detector.preprocessing.view(read_image(paths[3]))
    expected = detector.predict(torch.from_numpy(detector.preprocessing.normalise(view[None])))
    (found,) = predictor.predict(paths[3])
    assert found.score == pytest.approx(expected.score.item(), rel=1e-5)
    restored = detector.preprocessing.to_original(expected.anomaly_map.numpy(), (64, 64))
    np.testing.assert_allclose(found.anomaly_map, restored, rtol=1e-4, atol=1e-6)


def test_maps_have_the_size_of_their_photographs_and_end_where_the_crop_does(predictor: Predictor) -> None:
    random = np.random.default_rng(1)
    images = [random.integers(0, 255, (*size, 3), np.uint8) for size in ((32, 64), (200, 50), (64, 64))]
    for image, found in zip(images, predictor.predict(images), strict=True):
        assert found.anomaly_map is not None
        assert found.anomaly_map.shape == image.shape[:2]
        assert found.anomaly_map.dtype == np.float32
        height, width = image.shape[:2]
        seen = ~np.isnan(found.anomaly_map)
        # 56 of 64 px are kept, so a sixteenth is hidden on each side.
        assert not seen[: height // 16].any()
        assert not seen[:, : width // 16].any()
        assert seen[height // 16 : height - height // 16, width // 16 : width - width // 16].all()


def test_unreadable_images_keep_their_place(predictor: Predictor, paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    small = np.zeros((15, 90, 3), np.uint8)
    first, broken, tiny, last = predictor.predict([paths[0], tmp_path / "broken.png", small, paths[1]], batch_size=3)
    assert first.score is not None
    assert last.score is not None
    assert (broken.score, broken.anomaly_map, broken.image) == (None, None, None)
    assert "broken.png must be an image" in str(broken.error)
    assert tiny.error == (
        "image must be at least 16 px high and wide, got 15x90 (height x width). Remove it, or take a larger picture."
    )
    assert predictor.predict([tmp_path / "broken.png"])[0].error == broken.error


def test_no_images_give_no_predictions(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


def test_a_stream_holds_few_images_at_a_time(predictor: Predictor) -> None:
    given: list[weakref.ref[np.ndarray]] = []
    most = 0

    def camera() -> Iterator[np.ndarray]:
        for number in range(60):
            image = np.full((32, 32, 3), number, np.uint8)
            given.append(weakref.ref(image))
            yield image

    done = 0
    for found in predictor.stream(camera(), batch_size=4):
        most = max(most, sum(image() is not None for image in given))
        done += found.score is not None
        del found
    assert done == 60
    assert most <= 3 * 4  # the batch, the next one, and what threads have in hand


def test_a_stream_is_checked_before_it_is_asked_for_anything(predictor: Predictor) -> None:
    with pytest.raises(ConfigError, match="category must be one of pill_blister, printed_board, got 'screw'"):
        predictor.stream([], category="screw")
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        predictor.stream([], batch_size=0)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((32, 32, 3), np.float32),
        np.zeros((32, 32, 4), np.uint8),
        np.zeros((0, 32, 3), np.uint8),
        np.zeros((32, 32), bool),
        np.zeros((2, 32, 32, 3), np.uint8),
        b"bytes",
        None,
    ],
)
def test_what_is_no_image_is_named_and_ends_no_stream(wrong: object, predictor: Predictor, paths: list[Path]) -> None:
    pixels = read_image(paths[0])
    before, between, after = predictor.predict([pixels, wrong, pixels])  # type: ignore[list-item]
    assert between.score is None
    assert between.error is not None
    assert between.error.startswith("image must be a path, a PIL image or a uint8 array [H, W, 3] or [H, W], got ")
    assert before.score == after.score == predictor.predict(pixels)[0].score


def test_a_file_in_memory_is_read_as_it_would_be_from_the_disk(
    predictor: Predictor, paths: list[Path], tmp_path: Path
) -> None:
    turned, deep = tmp_path / "turned.jpg", tmp_path / "deep.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(paths[0]).crop((0, 0, 64, 40)).save(turned, exif=exif)
    values = np.random.default_rng(0).integers(0, 65536, (40, 64, 3), np.uint16)
    deep.write_bytes(cv2.imencode(".png", values)[1].tobytes())
    for file in (turned, deep):
        here, there = predictor.predict([ImageBytes(file.read_bytes(), "sent"), file])
        np.testing.assert_array_equal(here.image, there.image)
        assert here.score == there.score
    cut, empty = predictor.predict([ImageBytes(turned.read_bytes()[:300], "sent"), ImageBytes(b"", "sent")])
    assert cut.error is not None
    assert cut.error.startswith("image sent must be ")
    assert empty.error == "image sent must not be empty, got 0 bytes. Replace or remove it."


def test_each_image_of_a_stream_may_have_a_category_of_its_own(
    tiny_runs: Path, predictor: Predictor, paths: list[Path]
) -> None:
    own = Predictor(tiny_runs, device="cpu")
    pixels = read_image(paths[0])
    mixed = [Photograph(pixels, name) for name in ("printed_board", "pill_blister", "printed_board")]
    found = own.predict([*mixed, pixels], category="pill_blister")
    names = ["printed_board", "pill_blister", "printed_board", "pill_blister"]
    assert [one.category for one in found] == names
    for one, name in zip(found, names, strict=True):
        assert one.score == pytest.approx(own.predict(pixels, category=name)[0].score, rel=1e-5)
    assert found[0].score != found[1].score
    with pytest.raises(ConfigError, match="category must be one of pill_blister, printed_board, got 'screw'"):
        predictor.predict(Photograph(pixels, "screw"))


def test_what_was_looked_at_is_judged_as_in_a_stream_and_need_not_keep_the_image(
    predictor: Predictor, paths: list[Path]
) -> None:
    looks = [predictor.look(Photograph(path, path.parts[-4]), keep_image=False) for path in paths[:2]]
    looks.append(predictor.look(ImageBytes(b"no image", "sent")))
    assert [look.size for look in looks] == [(64, 64), (64, 64), None]
    first, second, third = predictor.judge(looks)
    assert third.error is not None
    for judged, path in zip((first, second), paths, strict=False):
        (whole,) = predictor.predict(path)
        assert judged.image is None
        assert judged.score == pytest.approx(whole.score, rel=1e-5)
        assert judged.regions == whole.regions
        assert judged.capture == whole.capture


def test_a_pil_image_of_a_damaged_file_ends_no_stream(predictor: Predictor, paths: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "cut.png"
    file.write_bytes(paths[0].read_bytes()[:-200])
    with Image.open(file) as damaged:
        found = predictor.predict([damaged, paths[0]])
    assert found[0].error is not None
    assert found[0].error.startswith("PIL image must be a whole image")
    assert found[1].score is not None


def test_categories_come_from_the_innermost_folder(predictor: Predictor, tmp_path: Path) -> None:
    assert predictor.category_of(tmp_path / "printed_board" / "test" / "good" / "1.png") == "printed_board"
    assert predictor.category_of(tmp_path / "printed_board" / "pill_blister" / "1.png") == "pill_blister"
    assert predictor.category_of(tmp_path / "1.png") is None
    assert predictor.category_of(tmp_path / "printed_board" / "1.png", "pill_blister") == "pill_blister"


def test_each_category_is_judged_by_its_own_detector(tiny_runs: Path, paths: list[Path]) -> None:
    both = Predictor(tiny_runs, device="cpu")
    mixed = both.predict([paths[0], paths[-1], paths[1]])
    assert [found.category for found in mixed] == ["pill_blister", "printed_board", "pill_blister"]
    for found in mixed:
        alone = Predictor(tiny_runs / "categories" / str(found.category), device="cpu").predict(found.image)[0]
        assert alone.score == pytest.approx(found.score, rel=1e-5)
        assert alone.category == found.category


def test_an_array_needs_its_category_where_each_has_a_detector_and_none_is_recognised(
    tiny_runs: Path, paths: list[Path], tmp_path: Path
) -> None:
    run = Path(copytree(tiny_runs, tmp_path / "run"))
    (run / "products.toml").unlink()
    both, image = Predictor(run, device="cpu"), read_image(paths[0])
    with pytest.raises(ConfigError, match="category must be given for an array, got none"):
        both.predict(image)
    assert both.predict(image, category="pill_blister")[0].score == pytest.approx(both.predict(paths[0])[0].score)


def test_a_folder_that_is_no_run_or_of_another_version_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"which has no run\.json"):
        Predictor(tmp_path)
    run = Path(copytree(tiny_run, tmp_path / "run"))
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps(facts | {"format_version": 3}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="must have format version 1 or 2, got 3"):
        Predictor(run)
    with pytest.raises(ConfigError, match="device must be one of"):
        Predictor(tiny_run, device="abacus")


def test_predictions_are_frozen(predictor: Predictor, paths: list[Path]) -> None:
    (found,) = predictor.predict(paths[0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.score = 0.0  # type: ignore[misc]


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More images of both products of the runs, and a third product."""
    folder = tmp_path_factory.mktemp("factory") / "data"
    names = ("pill_blister", "printed_board", "woven_fabric")
    write_toy_factory(folder, image_px=64, train_per_category=20, test_normal=2, test_per_defect=0, categories=names)
    return folder


@pytest.fixture(scope="module")
def knowing(
    tiny_run: Path, tiny_runs: Path, factory: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Both kinds of run, which learned their products from images enough to tell others."""
    folder = tmp_path_factory.mktemp("knowing")
    runs = {"multi_class": tiny_run, "per_category": tiny_runs}
    copies = {mode: Path(copytree(run, folder / mode)) for mode, run in runs.items()}
    for run in copies.values():
        learn_products(run, open_catalog(factory).select(split="train"), device="cpu")
    return copies


@pytest.mark.parametrize("mode", ["multi_class", "per_category"])
def test_what_nobody_named_is_recognised_and_judged_as_that(mode: str, knowing: dict[str, Path], factory: Path) -> None:
    predictor = Predictor(knowing[mode], device="cpu")
    names = ["printed_board", "pill_blister", "printed_board"]
    # Not the first: of good blisters 64 px small, it is the one in eight called unknown, at a rate of one in 41.
    images = [read_image(factory / name / "test" / "good" / "001.png") for name in names]
    for name, image, found in zip(names, images, predictor.predict(images), strict=True):
        assert (found.category, found.recognised_category, found.notice) == (name, name, None)
        assert found.score == pytest.approx(predictor.predict(image, category=name)[0].score, rel=1e-5)


@pytest.mark.parametrize("mode", ["multi_class", "per_category"])
def test_an_unknown_product_has_a_score_but_no_category(mode: str, knowing: dict[str, Path], factory: Path) -> None:
    predictor = Predictor(knowing[mode], device="cpu")
    for found in predictor.predict([read_image(path) for path in factory.glob("woven_fabric/test/good/*.png")]):
        assert (found.category, found.recognised_category) == (None, "unknown product")
        assert (found.verdict, found.p_value) == ("unknown product", None)
        assert re.fullmatch(
            r"unknown product: nearest is (pill_blister|printed_board) \(p = 0\.048\)", found.notice or ""
        )
        assert found.score is not None
        assert found.anomaly_map is not None


def test_a_given_category_stays_and_the_disagreement_is_told(knowing: dict[str, Path], factory: Path) -> None:
    predictor = Predictor(knowing["per_category"], device="cpu")
    board, fabric = (factory / name / "test" / "good" / "000.png" for name in ("printed_board", "woven_fabric"))
    (wrong,) = predictor.predict(board, category="pill_blister")
    assert (wrong.category, wrong.recognised_category) == ("pill_blister", "printed_board")
    assert str(wrong.notice).startswith("given as pill_blister, looks like printed_board (p = ")
    (foreign,) = predictor.predict(fabric, category="pill_blister")
    assert (foreign.category, foreign.recognised_category) == ("pill_blister", "unknown product")
    assert str(foreign.notice).startswith("given as pill_blister, looks like unknown product (p = ")
    (right,) = predictor.predict(board)
    assert (right.category, right.recognised_category, right.notice) == ("printed_board", "printed_board", None)


def test_a_run_without_products_works_as_before_there_were_any(
    tiny_run: Path, paths: list[Path], tmp_path: Path
) -> None:
    run = Path(copytree(tiny_run, tmp_path / "run"))
    (run / "products.toml").unlink()
    by_path, by_pixels = Predictor(run, device="cpu").predict([paths[0], read_image(paths[0])])
    assert (by_path.category, by_path.recognised_category, by_path.notice) == ("pill_blister", None, None)
    assert (by_pixels.category, by_pixels.recognised_category) == (None, None)
    assert by_pixels.score == by_path.score


def test_arrays_of_opencv_are_judged_as_the_photograph_they_are(predictor: Predictor, paths: list[Path]) -> None:
    frame = cv2.imread(str(paths[0]))
    (expected,), (found,) = predictor.predict(paths[0]), predictor.predict(frame, channels="bgr")
    assert found.score == expected.score
    np.testing.assert_array_equal(found.image, expected.image)
    for other in (paths[0], Image.open(paths[0])):  # these say themselves how they are
        assert predictor.predict(other, channels="bgr")[0].score == expected.score
    with pytest.raises(ConfigError, match="channels must be rgb or bgr, got 'gbr'"):
        predictor.predict(frame, channels="gbr")  # type: ignore[arg-type]
