"""Colour and depth from files to a verdict: trained, resumed, evaluated, predicted; and what is refused."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from muad.bundling.export import export
from muad.checkpoints.checkpoint import build_detector, load_detector
from muad.configuration.run_config import load_config
from muad.errors import ConfigError
from muad.evaluation.evaluate import evaluate
from muad.images.reading import ImageBytes
from muad.runtime.predictor import Predictor
from muad.toy_factory.moulded_tray import render_tray
from muad.training.run import train

BOTH = ['images.senses=["colour", "depth"]']


@pytest.fixture(scope="module")
def trays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight good trays to train on; of each kind two to test."""
    root = tmp_path_factory.mktemp("trays")
    wanted = [("train", "good", 8), ("test", "good", 2), ("test", "sunken_dome", 2)]
    for block, (split, kind, count) in enumerate(wanted):
        for number in range(count):
            defect = None if kind == "good" else kind
            made = render_tray(seed=1, index=100 * block + number, defect=defect, image_px=64)
            files = (("rgb", "png", made.colour[..., ::-1]), ("xyz", "tiff", made.points[..., ::-1]))
            for folder, ending, pixels in (*files, ("gt", "png", np.uint8(255) * made.mask)):
                file = root / "tray" / split / kind / folder / f"{number}.{ending}"
                file.parent.mkdir(parents=True, exist_ok=True)
                if split == "test" or folder != "gt":
                    assert cv2.imwrite(str(file), np.ascontiguousarray(pixels))
    return root


@pytest.fixture(scope="module")
def run(trays: Path, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "both"
    train(trays, folder, recipe=tiny_recipe, overrides=BOTH, device="cpu")
    return folder


def test_both_senses_go_through_one_encoder_and_are_averaged(run: Path, trays: Path) -> None:
    detector = load_detector(run)
    views = detector.preprocessing.views(detector.preprocessing.read(trays / "tray/test/good/rgb/0.png"))
    assert views.shape == (1, 56, 56, 6)
    images = torch.from_numpy(detector.preprocessing.normalise(views))
    joined, colour, depth = (detector.encode(each) for each in (images, images[:, :3], images[:, 3:]))
    torch.testing.assert_close(joined, (colour + depth) / 2, atol=1e-5, rtol=1e-5)


def test_a_run_is_evaluated_and_a_part_is_named_by_either_of_its_files(run: Path, trays: Path) -> None:
    report = evaluate(run, trays)
    assert report.layout == "mvtec_3d"
    assert report.categories["tray"].pixel_aupro is not None
    predictor = Predictor(run, device="cpu")
    folder = trays / "tray/test/sunken_dome"
    by_colour, by_depth = predictor.predict([folder / "rgb/0.png", folder / "xyz/0.tiff"])
    assert by_colour.score == by_depth.score
    assert by_colour.anomaly_map is not None
    assert by_colour.anomaly_map.shape == (64, 64)
    assert by_colour.image is not None
    np.testing.assert_array_equal(by_colour.image, cv2.imread(str(folder / "rgb/0.png"))[..., ::-1])
    lonely = ImageBytes((folder / "rgb/0.png").read_bytes(), "upload")
    for found, says in zip(
        predictor.predict([lonely, np.zeros((64, 64, 3), np.uint8)]), ("in memory", "must be a path"), strict=True
    ):
        assert found.error is not None
        assert says in found.error


def test_a_part_without_its_depth_is_told_and_the_others_are_judged(run: Path, trays: Path, tmp_path: Path) -> None:
    (tmp_path / "rgb").mkdir()
    alone = tmp_path / "rgb/0.png"
    alone.write_bytes((trays / "tray/test/good/rgb/0.png").read_bytes())
    missing, whole = Predictor(run, device="cpu").predict([alone, trays / "tray/test/good/rgb/0.png"])
    assert missing.error is not None
    assert "depth of image" in missing.error
    assert whole.score is not None


def test_what_two_senses_cannot_do_is_refused_in_a_line(run: Path, tmp_path: Path, tiny_recipe: Path) -> None:
    with pytest.raises(ConfigError, match=r"must look at colour alone to become a bundle, .* colour and depth"):
        export(run, tmp_path / "x.muad")
    with pytest.raises(ConfigError, match=r"images\.senses must be one sense for the detector simplenet"):
        build_detector(load_config(None, ["detector.name=simplenet", *BOTH]))
    with pytest.raises(ConfigError, match="one or two different senses"):
        load_config(tiny_recipe, ['images.senses=["depth", "depth"]'])
    images = load_config(tiny_recipe, BOTH).images
    with pytest.raises(ConfigError, match=r"images\.depth_range must be a rising pair"):
        dataclasses.replace(images, depth_range=(5, 5))
