"""What is released: wheel and source distribution are whole, and take a stranger all the way."""

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import muad
from muad.configuration.recipe_files import recipe_names


def test_wheel_and_source_are_built_and_pass_the_index_check(dist: Path) -> None:
    pytest.importorskip("build", reason="building a release needs pip install 'muad[dev]'")
    pytest.importorskip("twine", reason="checking a release needs pip install 'muad[dev]'")
    files = sorted(file.name for file in dist.iterdir() if file.is_file())
    assert files == [f"muad-{muad.__version__}-py3-none-any.whl", f"muad-{muad.__version__}.tar.gz"]
    check = [sys.executable, "-m", "twine", "check", "--strict", *(str(dist / name) for name in files)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    with tarfile.open(dist / files[1]) as source:
        assert {"LICENSE", "NOTICE", "README.md", "pyproject.toml"} <= {
            name.partition("/")[2] for name in source.getnames()
        }


def test_the_wheel_holds_the_package_and_nothing_else(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as held:
        names = held.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"muad", f"muad-{muad.__version__}.dist-info"}
    assert {f"muad/recipes/{name}.toml" for name in recipe_names()} <= set(names)
    assert {"muad/py.typed", "muad/weights/muad-tiny.safetensors"} <= set(names)
    assert any(name.startswith("muad/service/pages/static/") for name in names)


@pytest.mark.release
@pytest.mark.timeout(1200)
def test_the_quick_demo_goes_all_the_way_in_a_fresh_environment(
    environment: Callable[..., Path], tmp_path: Path
) -> None:
    python = environment("train", "imagenet", "onnx")
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [str(python), "-I", "-m", "muad", "demo", "--quick", "--json", "--out", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["mean"]["image_auroc"] > 0.75
    for name in ("overlays.png", "run/report.html", "run/limits.toml", "demo.muad"):
        assert (tmp_path / "demo" / name).stat().st_size > 0
    line = environment()
    judged = [str(line), "-I", "-m", "muad", "predict", "demo/demo.muad", "demo/data/pill_blister/test/crack"]
    told = subprocess.run([*judged, "--out", "results"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert told.returncode == 0, told.stderr
    assert "pill_blister" in (tmp_path / "results" / "results.csv").read_text(encoding="utf-8")


def test_the_version_is_the_same_wherever_it_stands() -> None:
    root = Path(__file__).resolve().parents[2]
    assert f"\nversion: {muad.__version__}\n" in (root / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changelog, flags=re.MULTILINE)[0] in ("Unreleased", muad.__version__)
