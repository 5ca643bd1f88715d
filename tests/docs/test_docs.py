"""README, docs and examples: their Python runs, their commands parse, what they link to is there."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import runpy
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import typer

from muad.cli.main import app
from muad.configuration.recipe_files import recipe_names
from muad.configuration.run_config import load_config, parse_config
from muad.datasets.index import LAYOUTS
from muad.encoders.families import FAMILIES, PYRAMIDS
from muad.evaluation.figures import PROTOCOLS
from muad.metrics.report import METRIC_NAMES
from muad.service.settings import StationSettings, known_keys

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def _commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in _blocks(page, "console"):
            for line in block.splitlines():
                assert line.startswith("$ "), f"{page.name}: {line}"
                if line.startswith("$ muad "):
                    yield page.name, line.removeprefix("$ muad ")


def _recipe_commands() -> Iterator[tuple[str, str]]:
    for name in recipe_names():
        text = (resources.files("muad") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
        for line in re.findall(r"^#\s+(muad .+)$", text, flags=re.MULTILINE):
            for command in line.split("&&"):
                yield name, command.strip().removeprefix("muad ")


@pytest.fixture
def demo(tiny_data: Path, tiny_run: Path, patch_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder as `make demo` leaves it, smaller, and a bundle."""
    shutil.copy(patch_bundle, tmp_path / "bolts.muad")
    shutil.copytree(tiny_data, tmp_path / "demo" / "data")
    shutil.copytree(tiny_run, tmp_path / "demo" / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page, "python")], ids=lambda page: page.name)
def test_python_blocks_run(page: Path, demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for number, block in enumerate(_blocks(page, "python")):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)
    assert capsys.readouterr().out


def test_the_readme_has_eight_lines_of_python() -> None:
    (block,) = _blocks(ROOT / "README.md", "python")
    assert 4 < len([line for line in block.splitlines() if line.strip()]) <= 8


_OF_ONE = re.compile(r"(\w+):")


@pytest.mark.parametrize(("page", "line"), [*_commands(), *_recipe_commands()])
def test_every_command_parses(page: str, line: str) -> None:
    """Command, options and types, without carrying it out; settings and names are looked up too."""
    command: Any = typer.main.get_command(app)
    arguments, context = shlex.split(line), None
    while hasattr(command, "commands"):
        name = arguments.pop(0)
        assert name in command.commands, f"no command {name}"
        command = command.commands[name]
    context = command.make_context(name, arguments)
    values = context.params
    settings = values.get("settings") or []
    load_config(values.get("recipe"), [setting for setting in settings if not _OF_ONE.match(setting)])
    for detector in {named[1] for setting in settings if (named := _OF_ONE.match(setting))}:  # as `compare` takes them
        own = [setting.partition(":")[2] for setting in settings if setting.startswith(f"{detector}:")]
        load_config(None, [f"detector.name={detector}", *own])
    if values.get("encoder") is not None:
        names = set(values["encoder"].split(","))
        assert names <= {*FAMILIES, *PYRAMIDS} or (name == "probe-encoder" and min(names).endswith(".safetensors"))
    assert values.get("layout", "auto") in ("auto", *LAYOUTS)
    assert values.get("protocol", "exact") in ("auto", *PROTOCOLS)


def test_there_are_commands_to_check() -> None:
    assert len(list(_commands())) > 15
    assert len(list(_recipe_commands())) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_picture_is_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_every_option_named_in_prose_exists() -> None:
    commands: list[Any] = [typer.main.get_command(app)]
    known: set[str] = set()
    while commands:
        command = commands.pop()
        known |= {option for parameter in command.params for option in getattr(parameter, "opts", [])}
        commands += getattr(command, "commands", {}).values()
    foreign = {"--cached", "--no-index", "--find-links", "--nnodes", "--nproc-per-node", "--logdir", "--help", "--head"}
    foreign |= {"--index-url", "--constraint"}
    for page in PAGES:
        text = re.sub(
            r"^\$ python benchmarks/.*$|`python benchmarks/[^`]*`",
            "",
            page.read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        )
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
        assert named <= known | foreign, page.name


def test_toml_blocks_are_recipes_and_those_on_the_station_its_settings() -> None:
    blocks = [(page.name, block) for page in PAGES for block in _blocks(page, "toml")]
    assert blocks
    for page, block in blocks:
        if page.startswith("station"):
            StationSettings.model_validate(tomllib.loads(block))
        else:
            parse_config(tomllib.loads(block))


def test_every_setting_of_a_station_is_described() -> None:
    pages = sorted((ROOT / "docs").glob("station-*.md"))
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    keys = [key.rpartition(".") for key in known_keys()]
    assert [f"{section}.{key}" for section, _, key in keys if not re.search(rf"\b{key}\b", text)] == []
    assert [section for section, _, _ in keys if f"[{section}]" not in text and f"[[{section}]]" not in text] == []


def test_tables_name_what_there_is() -> None:
    pages = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    assert all(f"`{name}`" in pages["data.md"] for name in LAYOUTS)
    assert all(f"`{name}`" in pages["metrics.md"] for name in (*METRIC_NAMES, *PROTOCOLS))
    for name, family in FAMILIES.items():
        short = name.removeprefix(name.rpartition("-")[0])
        assert f"`{name}`" in pages["encoders.md"] or f"`{short}`" in pages["encoders.md"] or family.origin == "package"


def test_the_encoder_said_to_be_taken_by_default_is() -> None:
    (stated,) = re.findall(r"`([\w-]+)` is taken", (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8"))
    assert load_config().detector.encoder.name == stated


def test_docstring_examples_run() -> None:
    source = ROOT / "src"
    files = [file for file in sorted(source.rglob("*.py")) if ">>>" in file.read_text(encoding="utf-8")]
    assert files
    for file in files:
        module = ".".join(file.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        result = doctest.testmod(importlib.import_module(module))
        assert result.attempted > 0
        assert result.failed == 0, module


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_run_and_are_short(
    example: Path, demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = example.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert ast.get_docstring(ast.parse(text))
    quick = ["schedule.total_steps=2", "schedule.warmup_steps=1", "training.batch_size=2"]
    arguments = {
        "train.py": [
            "demo/data",
            "mine",
            *quick,
            "detector.encoder.name=random-vit-tiny",
            "detector.resize_px=[56,56]",
            "detector.crop_px=[56,56]",
        ],
        "predict.py": ["demo/run", "demo/data/printed_board/test"],
    }[example.name]
    monkeypatch.setattr("sys.argv", [str(example), *arguments])
    runpy.run_path(str(example), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) >= 2


def test_the_package_brings_its_recipes_and_its_type_marker() -> None:
    package = resources.files("muad")
    assert (package / "py.typed").is_file()
    assert sum(entry.name.endswith(".toml") for entry in (package / "recipes").iterdir()) == len(recipe_names())
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {"py.typed", "recipes/*.toml"} <= set(config["tool"]["setuptools"]["package-data"]["muad"])
