"""The example in C++ is built and judges photographs of a bundle as Python does."""

import csv
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muad.bundles.writing import write_bundle
from muad.runtime.predictor import Predictor

SOURCE = Path(__file__).resolve().parents[2] / "examples/cpp"
LIMITS = "[categories.pill_blister]\nreview = {0!r}\nreject = {1!r}\n"


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built."""
    if not (shutil.which("cmake") and shutil.which("g++")):
        pytest.skip("needs a C++ compiler and cmake")
    openvino = pytest.importorskip("openvino")
    if run("g++", "-fsyntax-only", "-include", "cstdio", "-include", "png.h", "-include", "jpeglib.h", "-include",
           "nlohmann/json.hpp", "-x", "c++", os.devnull).returncode:  # fmt: skip
        pytest.skip("needs libpng-dev, libjpeg-dev and nlohmann-json3-dev")
    package, build = Path(openvino.__file__).parent, tmp_path_factory.mktemp("build")
    options = (f"-DOpenVINO_DIR={package / 'cmake'}", "-DCMAKE_BUILD_TYPE=Debug")
    for command in (("cmake", "-S", SOURCE, "-B", build, *options), ("cmake", "--build", build)):
        done = run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in done.stdout + done.stderr, done.stdout + done.stderr
    return build / "judge"


@pytest.fixture(scope="module")
def photographs(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PNG and JPEG, grey and coloured, wide, tall, larger and smaller than what the network sees."""
    folder, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for place, size in enumerate([(300, 90), (90, 300), (17, 500), (64, 64), (401, 399)]):
        pixels = random.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{place}.png")
        Image.fromarray(pixels).save(folder / f"{place}.jpg", quality=80)
        Image.fromarray(pixels[..., 0]).save(folder / f"grey{place}.png")
    for file in sorted((tiny_data / "pill_blister/test").glob("*/*.png")):
        shutil.copy(file, folder / f"{file.parent.name}-{file.name}")
    return folder


@pytest.fixture(scope="module")
def bundle(made, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run as a bundle, with limits among the scores."""
    found = Predictor(made.run, device="cpu").predict(sorted(photographs.iterdir()), category="pill_blister")
    scores = np.sort([each.score for each in found])
    limits = LIMITS.format(float(scores[len(scores) // 3]), float(scores[-len(scores) // 3]))
    path = tmp_path_factory.mktemp("bundle") / "tiny.muad"
    contents = {name: made.bundle.read(name) for name in made.bundle.manifest.members}
    write_bundle(path, made.bundle.manifest, contents | {"run/limits.toml": limits.encode()})
    return path


def test_scores_and_verdicts_are_those_of_python(judge: Path, bundle: Path, photographs: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path)
    done = run(judge, tmp_path, photographs, "pill_blister")
    assert done.returncode == 0, done.stderr
    files = sorted(photographs.iterdir())
    expected = Predictor(bundle, device="cpu").predict(files, category="pill_blister")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["path"] for row in rows] == [file.name for file in files]
    assert [float(row["score"]) for row in rows] == pytest.approx([each.score for each in expected], rel=1e-4)
    assert [row["verdict"] for row in rows] == [each.verdict for each in expected]
    assert {"pass", "review", "reject"} == {row["verdict"] for row in rows}


def test_what_python_would_read_otherwise_is_refused_in_one_line(judge: Path, bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "bundle")
    whole = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8))
    turned = whole.getexif()
    turned[0x0112] = 6
    for name, save in {
        "EXIF orientation 6": lambda file: whole.save(file, "JPEG", exif=turned),
        "16 bits a channel": lambda file: Image.fromarray(np.zeros((60, 50), np.uint16)).save(file, "PNG"),
        "transparency": lambda file: whole.convert("RGBA").save(file, "PNG"),
        "another format": lambda file: whole.save(file, "BMP"),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        save(folder / "photograph")
        done = run(judge, tmp_path / "bundle", folder, "pill_blister")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert name in done.stderr
    for place, cut in (("0", 300), ("1", 1500)):
        whole.save(tmp_path / "whole", "PNG" if place == "0" else "JPEG")
        (tmp_path / place).mkdir()
        (tmp_path / place / "photograph").write_bytes((tmp_path / "whole").read_bytes()[:cut])
        assert "a damaged file" in run(judge, tmp_path / "bundle", tmp_path / place, "pill_blister").stderr
    assert "category must be one of" in run(judge, tmp_path / "bundle", folder, "screw").stderr
    assert "Unpack it" in run(judge, tmp_path, folder, "pill_blister").stderr
