"""Names without imports; packages that bring a detector, that clash, and that are broken."""

import subprocess
import sys
from pathlib import Path

import pytest

from muad.configuration.run_config import load_config
from muad.detectors import DETECTORS, detector_class, detector_names
from muad.errors import ConfigError

WORKING = """
from dataclasses import dataclass
from typing import Literal
from muad.detectors import Dinomaly, DinomalyConfig

@dataclass(frozen=True, slots=True, kw_only=True)
class Config(DinomalyConfig):
    name: Literal["louder"] = "louder"
    volume: int = 11

class Louder(Dinomaly):
    settings = Config
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a package that brings a detector where Python finds it."""

    def install(package: str, entry: str, source: str) -> None:
        folder = tmp_path / package
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[muad.detectors]\n{entry}\n", encoding="utf-8")
        (folder / f"{package}.py").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, package, raising=False)

    return install


def test_names_are_listed_without_importing_a_method() -> None:
    code = (
        "import sys, muad.detectors as d; assert d.detector_names()[0] == 'dinomaly'; "
        "assert 'torch' not in sys.modules and 'muad.detectors.dinomaly' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_settings_of_one_detector_do_not_import_the_others() -> None:
    code = (
        "import sys; from muad.configuration.run_config import load_config; load_config('dinomaly-mvtec'); "
        "assert not {'muad.detectors.diffusion_ad', 'muad.detectors.patchcore'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", DETECTORS)
def test_every_line_of_the_table_leads_to_a_detector_of_that_name(name: str) -> None:
    assert detector_class(name).settings().name == name


def test_a_package_brings_its_own_with_settings_that_are_checked(install) -> None:
    install("louder", "louder = louder:Louder", WORKING)
    assert detector_names()[-1] == "louder"
    config = load_config(overrides=["detector.name=louder", "detector.volume=3"])
    assert (config.detector.volume, config.detector.resize_px) == (3, (448, 448))
    with pytest.raises(ConfigError, match=r"detector\.volume must be a whole number, got \"loud\""):
        load_config(overrides=["detector.name=louder", "detector.volume=loud"])
    with pytest.raises(ConfigError, match=r"got 'detector\.volum'\. Did you mean 'detector\.volume'\?"):
        load_config(overrides=["detector.name=louder", "detector.volum=3"])
    with pytest.raises(ConfigError, match=r"which detector\.name = 'dinomaly' does not have"):
        load_config(overrides=["detector.volume=3"])


@pytest.mark.parametrize(
    ("entry", "source", "message"),
    [
        (
            "bad = broken:Bad",
            "import nothing_of_that_name",
            r"of package broken 1\.0 must be importable, got Mod",
        ),
        ("bad = broken:Bad", "raise RuntimeError('no luck')", r"must be importable, got RuntimeError: no luck"),
        (
            "bad = broken:Bad",
            "class Other: pass",
            r"'bad' of package broken 1\.0 must be importable, got Attr",
        ),
        ("bad = broken:Bad", "class Bad: pass", r"must derive from SteppingDetector or FittingDetector, got <class"),
        ("bad = broken:Louder", WORKING, r"must have settings whose name is 'bad', got 'louder'\. Repair or uninstall"),
        (
            "bad = broken:Bad",
            WORKING + "class Bad(Dinomaly): settings = int",
            r"must have settings that derive from",
        ),
    ],
)
def test_a_broken_package_is_named_in_one_line(install, entry: str, source: str, message: str) -> None:
    install("broken", entry, source)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(overrides=["detector.name=bad"])
    assert "\n" not in str(error.value)
    assert load_config().detector.name == "dinomaly"
    with pytest.raises(ConfigError, match=r"Did you mean 'detector\.map_px'"):
        load_config(overrides=["detector.map_p=3"])


def test_two_packages_of_one_name_are_named(install) -> None:
    install("one", "louder = one:Louder", WORKING)
    install("two", "louder = two:Louder", WORKING)
    with pytest.raises(ConfigError, match=r"'louder' must be of one package, got one 1\.0 and two 1\.0\. Unin"):
        detector_class("louder")
    install("three", "dinomaly = three:Louder", WORKING)
    with pytest.raises(ConfigError, match=r"'dinomaly' must be of one package, got muad and three 1\.0"):
        detector_class("dinomaly")


def test_an_unknown_name_gets_the_list_and_the_closest() -> None:
    with pytest.raises(ConfigError, match=r"one of dinomaly, diffusion_ad, patchcore.*Did you mean 'patchcore'"):
        detector_class("patchcor")
