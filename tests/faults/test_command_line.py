"""Commands with places, names and options that cannot be."""

from collections.abc import Callable
from pathlib import Path

import pytest

LONG = "a" * 300
# {run}: a sound run, {data}: sound data, {image}: a sound image, {file}: a text file, {tmp}: an empty folder.
CASES = {
    "train into a file": ("train {data} --out {file}", "run folder must be"),
    "train below a file": ("train {data} --out {file}/run", "run folder must be"),
    "train under a long name": (f"train {{data}} --out {{tmp}}/{LONG}", "run folder must have a usable name"),
    "train where a run is": ("train {data} --out {run}", "run folder must be new"),
    "train on another device": ("train {data} --out {tmp}/run --device tpu", "device must be"),
    "train on a card that is not there": ("train {data} --out {tmp}/run --device cuda:99", "cuda"),
    "evaluate nothing": ("evaluate {tmp}/nowhere {data}", "run must be a folder written by"),
    "evaluate an image": ("evaluate {image} {data}", "bundle must be a whole file"),
    "evaluate a long name": (f"evaluate {{tmp}}/{LONG} {{data}}", "usable name"),
    "evaluate without data": ("evaluate {run} {tmp}/nowhere", "nowhere"),
    "evaluate by another protocol": ("evaluate {run} {data} --protocol loose", "protocol must be one of"),
    "evaluate with another backend": ("evaluate {run} {data} --backend tensorrt", "backend must be one of"),
    "evaluate in another precision": ("evaluate {run} {data} --precision fp8", "precision must be one of"),
    "evaluate with an encoder that is not there": (
        "evaluate {run} {data} --encoder-weights {tmp}/no.pth", "encoder"),
    "predict without a run": ("predict {tmp} {image} --out {tmp}/out", "no run.json"),
    "predict with a file for a run": ("predict {file} {image} --out {tmp}/out", "bundle must be a whole file"),
    "predict nothing": ("predict {run} {tmp}/nowhere.png --out {tmp}/out", "nowhere.png"),
    "predict an empty folder": ("predict {run} {tmp} --out {tmp}/out", "got"),
    "predict into a file": ("predict {run} {image} --out {file}", "notes.txt"),
    "predict below a file": ("predict {run} {image} --out {file}/out", "notes.txt"),
    "predict under a long name": (f"predict {{run}} {{image}} --out {{tmp}}/{LONG}", "name too long"),
    "predict a long name": (f"predict {{run}} {{tmp}}/{LONG}.png --out {{tmp}}/out", "aaaa"),
    "predict as another product": ("predict {run} {image} --out {tmp}/out --category screw", "category must be one"),
    "predict on another device": ("predict {run} {image} --out {tmp}/out --device npu", "device must be"),
    "predict with maps of another kind": ("predict {run} {image} --out {tmp}/out --map-format bmp", "bmp"),
    "report nothing": ("report {tmp}", "no run.json"),
    "report into a folder": ("report {run} --out {tmp}", "must be"),
    "report below a file": ("report {run} --out {file}/page.html", "notes.txt"),
    "report other data": ("report {run} --data {tmp}/nowhere", "nowhere"),
    "calibrate nothing": ("calibrate {tmp}", "no run.json"),
    "calibrate without images": ("calibrate {run} {tmp}/nowhere", "nowhere"),
    "calibrate on an empty folder": ("calibrate {run} {tmp}", "got"),
    "calibrate on a file": ("calibrate {run} {file}", "notes.txt"),
    "calibrate what kept nothing": ("calibrate {run}", "must have kept images"),
    "check what is not there": ("check-data {tmp}/nowhere", "nowhere"),
    "check an empty folder": ("check-data {tmp}", "got"),
    "check a long name": (f"check-data {{tmp}}/{LONG}", "aaaa"),
    "show a recipe that is not there": ("recipes show yolo", "recipe must be"),
    "import nothing": ("import-official {tmp}/no.pth --out {tmp}/run", "must be an existing file"),
    "import text": ("import-official {file} --out {tmp}/run", "must end in .safetensors"),
    "import a folder": ("import-official {tmp} --out {tmp}/run", "must be an existing file"),
    "import where a run is": ("import-official {file} --out {run}", "run folder must be new or empty"),
    "fetch an unknown encoder": ("fetch-encoder yolo --to {tmp}/x.safetensors", "yolo"),
    "probe an unknown encoder": ("probe-encoder yolo {data}", "encoder must be"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_command_that_cannot_be_done_is_one_line(
    name: str, run: Path, data: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    command, words = CASES[name]
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    places = {"run": run, "data": data, "image": data / "good/0.png", "file": tmp_path / "notes.txt",
              "tmp": tmp_path / "empty"}  # fmt: skip
    said = refused(*(part.format(**places) for part in command.split()))
    assert words.lower() in said.lower()
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"
