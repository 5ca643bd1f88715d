"""What is released, built once; environments that hold it, what it says it needs, and nothing else."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def closure(requirements: list[str]) -> Iterator[Distribution]:
    """Everything these need, as it is installed here."""
    seen: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        extras = {"", *wanted.extras}
        if wanted.name.lower() in seen or (
            wanted.marker and not any(wanted.marker.evaluate({"extra": e}) for e in extras)
        ):
            continue
        try:
            found = distribution(wanted.name)
        except PackageNotFoundError:
            continue  # for another system or Python
        seen.add(wanted.name.lower())
        needed = [Requirement(text) for text in found.requires or ()]
        waiting += [
            entry for entry in needed if not entry.marker or any(entry.marker.evaluate({"extra": e}) for e in extras)
        ]
        yield found


@pytest.fixture(scope="package")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, made of the source distribution beside it where `build` is installed."""
    place = tmp_path_factory.mktemp("dist")
    source = place / "source"
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=left_out)
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source / name)
    if find_spec("build"):
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place), str(source)]
    else:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "wheel", "--no-index"]
        command = [*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", str(place), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return place


@pytest.fixture(scope="package")
def environment(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a fresh environment with the wheel and the named extras; the interpreter in it."""

    def make(*extras: str) -> Path:
        (wheel,) = dist.glob("muad-*.whl")
        place = tmp_path_factory.mktemp("environment")
        venv.create(place / "env", with_pip=False)
        libraries = next((place / "env").glob("lib/python*/site-packages" if os.name != "nt" else "Lib/site-packages"))
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        install = [*pip, "install", "--no-deps", "--no-index", "--target", str(libraries), str(wheel)]
        subprocess.run(install, check=True, capture_output=True)
        (installed,) = Distribution.discover(name="muad", path=[str(libraries)])
        asked = {"", *extras}
        while more := _extras_of(installed, asked) - asked:
            asked |= more
        wanted = [Requirement(text) for text in installed.requires or ()]
        needed = [
            entry
            for entry in wanted
            if entry.name != "muad" and (not entry.marker or any(entry.marker.evaluate({"extra": e}) for e in asked))
        ]
        assert needed, "muad needs something"
        for name in needed:
            name.marker = None
        here = Path(sysconfig.get_paths()["purelib"])
        for found in closure([str(entry) for entry in needed]):
            for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
                link, there = libraries / top, Path(str(found.locate_file(top)))
                if not link.exists():
                    link.symlink_to(there if there.exists() else here / top)
        return place / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    return make


def _extras_of(installed: Distribution, asked: set[str]) -> set[str]:
    """Extras that those asked for bring with them: `muad[onnx]` brings `muad[train]`."""
    wanted = [Requirement(text) for text in installed.requires or ()]
    return {
        extra
        for entry in wanted
        if entry.name == "muad" and entry.marker and any(entry.marker.evaluate({"extra": e}) for e in asked)
        for extra in entry.extras
    }


@pytest.fixture(scope="package")
def python(environment: Callable[..., Path]) -> Path:
    """The interpreter of the line's environment: no extras, no torch."""
    return environment()
