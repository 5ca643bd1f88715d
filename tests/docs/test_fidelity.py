"""docs/fidelity.md and docs/ablations.md say what the project is: their files exist, their settings load."""

import re
import typing
from pathlib import Path

import pytest

from muad.configuration.run_config import load_config
from muad.detectors.dinomaly import Grouping, Mixer

ROOT = Path(__file__).resolve().parents[2]
FIDELITY = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
ABLATIONS = (ROOT / "docs" / "ablations.md").read_text(encoding="utf-8")
SETTINGS = re.findall(r"^\| `(--set [^`]+)`", ABLATIONS, flags=re.MULTILINE)


def test_every_file_named_exists() -> None:
    named = re.findall(
        r"`((?:nn|optim|encoders|datasets|images|synthesis|metrics|training|checkpoints|runtime|detectors|tests|docs)/[\w/]+(?:\.\w+)?)`",
        FIDELITY,
    )
    assert len(named) > 20
    missing = [name for name in named if not (ROOT / name).exists() and not (ROOT / "src" / "muad" / name).exists()]
    assert missing in ([], ["docs/results.md"])


def test_every_deviation_in_the_code_has_its_line() -> None:
    """A comment in the code names the thing; the table must have a row for it."""
    rows = {
        "detectors/dinomaly.py": [
            "| to-concatenation |",
            "| dropout | one global stream",
        ],
        "synthesis/anomalies.py": ["| anomalies of a texture |", "| foreground of an object |"],
        "synthesis/augment.py": ["| brightness augmentation |"],
        "synthesis/sources.py": ["| texture images as anomaly source |"],
        "detectors/diffusion_ad.py": [
            "| randomness in training |",
            "| noise at prediction |",
            "| iterative reconstruction (ablation) |",
        ],
        "detectors/simplenet.py": ["| noise of SimpleNet |"],
        "detectors/destseg.py": ["| randomness of the damage |"],
        "detectors/uniad.py": ["| noise of UniAD |"],
        "detectors/patchcore.py": ["| patch distance |"],
        "detectors/diad.py": [
            "| noise at prediction of DiAD |",
            "| randomness in training of DiAD |",
            "| discriminator of the autoencoder |",
            "| latent at prediction |",
        ],
        "detectors/mambaad.py": ["| which images pass a scan block by |"],
        "nn/mining.py": ["at least one point counts as hard"],
        "nn/attention.py": ["| neighbour mask with linear attention |"],
        "nn/reverse_distillation.py": ["| stages of odd sizes |"],
        "encoders/families.py": ["| normalisation of BEiT |"],
    }
    found = {
        path.relative_to(ROOT / "src" / "muad").as_posix(): len(
            re.findall(r"(?<!_)DEVIATION:", path.read_text(encoding="utf-8"))
        )
        for path in sorted((ROOT / "src" / "muad").rglob("*.py"))
    }
    assert {name: count for name, count in found.items() if count} == {name: len(part) for name, part in rows.items()}
    assert all(row in FIDELITY for part in rows.values() for row in part)


def test_the_switches_have_the_values_the_table_says() -> None:
    published = load_config("dinomaly-mvtec")
    stated = dict(re.findall(r"^\| `([\w.]+)` \| `([\w.-]+)`[^|]* \|", FIDELITY, flags=re.MULTILINE))
    detector = published.detector
    assert float(stated["detector.attention_eps"]) == detector.attention_eps
    assert stated["detector.encoder.position_interpolation"] == detector.encoder.position_interpolation
    assert stated["detector.align_corners"] == str(detector.align_corners).lower()
    assert stated["training.precision"] == published.training.precision
    assert float(stated["optim.eps"]) == published.optim.eps
    assert int(stated["detector.easy_ramp_steps"]) == detector.easy_ramp_steps


@pytest.mark.parametrize("line", SETTINGS)
def test_every_ablation_loads_on_top_of_its_recipe(line: str) -> None:
    settings = re.findall(r"--set (\S+)", line)
    assert settings
    config = load_config("dinomaly-mvtec", settings)
    for setting in settings:
        value: object = config
        path, _, stated = setting.partition("=")
        for name in path.split("."):
            value = getattr(value, name)
        assert str(list(value) if isinstance(value, tuple) else value).replace(" ", "").lower() == stated.lower() or (
            float(stated) == value
        )


def test_every_choice_of_the_configuration_is_documented() -> None:
    assert len(SETTINGS) > 25
    for name, choices in (("attention", Mixer), ("grouping", Grouping)):
        stated = {match for line in SETTINGS for match in re.findall(rf"detector\.{name}=(\w+)", line)}
        assert stated == set(typing.get_args(choices))
