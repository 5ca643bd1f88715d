"""A run that was stopped, killed or crashed ends as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muad.errors import CheckpointError, ConfigError, DataError

TrainTiny = Callable[..., object]

# Dies by kill -9 between the weights and the state of the checkpoint of step 10.
DIE_WHILE_SAVING = """
import os, signal, sys
from muad import api

def die(event, arguments):
    if event == "open" and str(arguments[0]).endswith(os.path.join("00000010.partial", "state.json")):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
data, out, recipe = sys.argv[1:]
api.train(data, out, recipe=recipe, device="cpu")
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Path, photos: Path) -> Path:
    """Twelve steps without a break; checkpoints of step 10, with the optimizer's state, and 12."""
    from muad import api

    out = tmp_path_factory.mktemp("whole") / "run"
    api.train(photos, out, recipe=tiny_recipe, device="cpu")
    return out


def metrics(run: Path) -> list[dict[str, float]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds_per_step"} for line in lines]


def assert_same_run(run: Path, whole: Path) -> None:
    """Bit for bit: weights, the optimizer's state two steps before the end, and what was logged of every step."""
    for name in ("00000010/weights", "00000010/optimizer", "00000012/weights"):
        ours, expected = (folder / "checkpoints" / f"{name}.safetensors" for folder in (run, whole))
        assert ours.read_bytes() == expected.read_bytes(), name
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["00000010", "00000012"]
    assert metrics(run) == metrics(whole)
    assert [line["step"] for line in metrics(run)] == list(range(12))


class PowerCut(BaseException):
    """What a crash looks like from the inside."""


def fail_after(steps: int) -> Callable[[str, int, int, float | None], None]:
    def progress(name: str, done: int, total: int, loss: float | None) -> None:
        if done == steps:
            raise PowerCut

    return progress


def send_after(steps: int, *signals: signal.Signals) -> Callable[[str, int, int, float | None], None]:
    def progress(name: str, done: int, total: int, loss: float | None) -> None:
        if done == steps:
            for number in signals:
                # To this thread: sent to the process, another library's thread might take it, and not survive it.
                signal.raise_signal(number)

    return progress


def test_the_same_run_twice_is_the_same(train_tiny: TrainTiny, tmp_path: Path, whole: Path) -> None:
    train_tiny(tmp_path / "run")
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize("crash_after", [3, 5, 7])
def test_a_crash_is_made_up_for(train_tiny: TrainTiny, tmp_path: Path, whole: Path, crash_after: int) -> None:
    """Before the first checkpoint, right after it, and with steps logged that no checkpoint holds."""
    with pytest.raises(PowerCut):
        train_tiny(tmp_path / "run", progress=fail_after(crash_after))
    assert len(metrics(tmp_path / "run")) == crash_after
    train_tiny(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_has_saved_its_last_step(
    train_tiny: TrainTiny, tmp_path: Path, whole: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(tmp_path / "run", progress=send_after(6, number))
    assert signal.getsignal(number) == before
    # The signal came when step 7 had begun, so that step is finished and saved.
    assert (tmp_path / "run/checkpoints/00000007/optimizer.safetensors").is_file()
    assert len(metrics(tmp_path / "run")) == 7
    train_tiny(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_a_second_signal_stops_at_once(train_tiny: TrainTiny, tmp_path: Path, whole: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_tiny(tmp_path / "run", progress=send_after(6, signal.SIGINT, signal.SIGINT))
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["00000005"]
    train_tiny(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_a_signal_during_the_last_step_keeps_the_result(train_tiny: TrainTiny, tmp_path: Path, whole: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_tiny(tmp_path / "run", progress=send_after(11, signal.SIGINT))
    train_tiny(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_kill_9_in_the_middle_of_saving(
    train_tiny: TrainTiny, tmp_path: Path, whole: Path, tiny_recipe: Path, photos: Path
) -> None:
    command = [sys.executable, "-c", DIE_WHILE_SAVING, str(photos), str(tmp_path / "run"), str(tiny_recipe)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    killed = subprocess.run(command, capture_output=True, timeout=120, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    left = tmp_path / "run/checkpoints/00000010.partial"
    assert (left / "weights.safetensors").is_file()
    # A line cut off in the middle, as the operating system leaves it when the power fails.
    with (tmp_path / "run/metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 10, "los')
    train_tiny(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_what_a_crash_left_of_another_step_is_cleared_away(train_tiny: TrainTiny, tmp_path: Path) -> None:
    with pytest.raises(PowerCut):
        train_tiny(tmp_path / "run", progress=fail_after(6))
    (tmp_path / "run/checkpoints/00000008.partial").mkdir()
    (tmp_path / "run/metrics.jsonl").write_bytes(b"\0\xff\n")
    train_tiny(tmp_path / "run", resume=True)
    assert [line["step"] for line in metrics(tmp_path / "run")] == list(range(5, 12))
    assert not list((tmp_path / "run").rglob("*.partial"))


def test_a_killed_run_of_one_category_each_goes_on(train_tiny: TrainTiny, tmp_path: Path) -> None:
    """Finished categories are not touched again, the one that was under way continues."""
    each = ("training.mode=per_category",)
    train_tiny(tmp_path / "whole", *each)
    steps = iter(range(1, 100))

    def progress(name: str, done: int, total: int, loss: float | None) -> None:
        if next(steps) == 12 + 7:
            raise PowerCut

    with pytest.raises(PowerCut):
        train_tiny(tmp_path / "run", *each, progress=progress)
    first = tmp_path / "run/categories/bolt/checkpoints/00000012/weights.safetensors"
    written = first.stat().st_mtime_ns
    train_tiny(tmp_path / "run", *each, resume=True)
    assert first.stat().st_mtime_ns == written
    for category in ("bolt", "cloth"):
        assert_same_run(tmp_path / "run/categories" / category, tmp_path / "whole/categories" / category)


def test_a_finished_run_is_left_as_it_is(train_tiny: TrainTiny, tmp_path: Path, whole: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    seen: list[int] = []
    train_tiny(run, resume=True, progress=lambda *news: seen.append(news[1]))
    assert seen == []
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_run_killed_between_its_last_checkpoint_and_its_end_is_finished(
    train_tiny: TrainTiny, tmp_path: Path, whole: Path
) -> None:
    with pytest.raises(PowerCut):
        train_tiny(tmp_path / "run", progress=fail_after(12))
    train_tiny(tmp_path / "run", resume=True)
    ours, expected = (json.loads((run / "run.json").read_text(encoding="utf-8")) for run in (tmp_path / "run", whole))
    assert ours["finished"] is True
    assert ours["map_scale"] == expected["map_scale"]
    assert_same_run(tmp_path / "run", whole)


def test_an_existing_run_is_not_overwritten(train_tiny: TrainTiny, tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"run folder must be new, got .*run.*--resume"):
        train_tiny(tmp_path / "run")
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("optim.lr=1e-3", r"optim\.lr must stay 0\.002 .* got 0\.001"),
        ("schedule.total_steps=20", r"schedule\.total_steps must stay 12 .* got 20"),
        ("detector.encoder.layout.heads=4", r"detector\.encoder\.layout\.heads must stay 2"),
        ("training.seed=2", r"training\.seed must stay 1"),
    ],
)
def test_other_settings_are_refused_by_name(train_tiny: TrainTiny, whole: Path, setting: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        train_tiny(whole, setting, resume=True)


def test_other_images_are_refused(train_tiny: TrainTiny, tmp_path: Path, photos: Path) -> None:
    """The order of images depends on how many there are: the run could not go on as it began."""
    with pytest.raises(PowerCut):
        train_tiny(tmp_path / "run", progress=fail_after(6))
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (data / "bolt/train/good/001.png").unlink()
    with pytest.raises(DataError, match=r"data must be what .* was started on, .*'bolt': 5.* got .*'bolt': 4"):
        train_tiny(tmp_path / "run", data=data, resume=True)


def test_images_added_meanwhile_are_left_out(train_tiny: TrainTiny, tmp_path: Path, photos: Path, whole: Path) -> None:
    with pytest.raises(PowerCut):
        train_tiny(tmp_path / "run", progress=fail_after(6))
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    Image.fromarray(np.zeros((60, 64, 3), np.uint8)).save(data / "bolt/train/good/more.png")
    train_tiny(tmp_path / "run", data=data, resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_a_run_stopped_by_a_bad_file_goes_on_without_it(train_tiny: TrainTiny, tmp_path: Path, photos: Path) -> None:
    """What the message advises must be possible on the run folder that is there by then."""
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (data / "cloth/train/good/002.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"002\.png.*--skip-bad"):
        train_tiny(tmp_path / "run", data=data)
    notes: list[str] = []
    train_tiny(tmp_path / "run", "training.skip_bad=true", data=data, resume=True, note=notes.append)
    train_tiny(tmp_path / "whole", "training.skip_bad=true", data=data)
    assert any("002.png" in note for note in notes)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_resume_of_a_folder_without_a_run_starts_one(train_tiny: TrainTiny, tmp_path: Path, whole: Path) -> None:
    train_tiny(tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)
