"""Many processes against one: the same rows, whatever is killed, and nothing is judged twice."""

import csv
import gc
import os
import signal
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from muad.errors import ConfigError, DataError, MuadError
from muad.outputs.tables import COLUMNS
from muad.runtime.computing import Acceleration
from muad.scale import Done, predict_by_ray
from muad.scale.job import JobFolder
from muad.scale.judge import Work
from muad.scale.listing import list_images
from muad.scale.predict import _Job

pytest.importorskip("ray", reason="muad[scale] is not installed")

# Ray warns of settings of its own that it reads itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
ONNX = Acceleration(backend="onnx", precision="fp32")


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Ray on this machine, started once."""
    from muad.scale.cluster import ray_cluster

    with ray_cluster(None):
        yield
    with warnings.catch_warnings():  # Ray leaves what it has started to the collector, without a wait
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def judged(patch_bundle: Path, many: Path) -> Callable[..., Done]:
    """Judges `many` by two judges, in parts of eight."""

    def judge(out: object, places: Sequence[object] = (many,), **how: Any) -> Done:
        how = {"acceleration": ONNX, "judges": 2, "part_images": 8, "batch_size": 4} | how
        return predict_by_ray(patch_bundle, [str(place) for place in places], str(out), **how)

    return judge


def _parts(out: Path) -> list[dict[str, Any]]:
    return [row for file in sorted((out / "parts").glob("*.parquet")) for row in parquet.read_table(file).to_pylist()]


def _judges() -> list[int]:
    """Processes of judges that were started from here."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"_RayJudge" in (folder / "cmdline").read_bytes() and os.getpid() in _above(int(folder.name)):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _above(process: int) -> Iterator[int]:
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        yield process


@pytest.mark.usefixtures("cluster")
def test_every_cell_is_that_of_one_process(
    judged: Callable[..., Done], patch_bundle: Path, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from muad.outputs import find_images, write_predictions
    from muad.runtime.predictor import Predictor

    monkeypatch.chdir(many)
    write_predictions(
        Predictor(patch_bundle, acceleration=ONNX), find_images([Path()]), tmp_path / "whole",
        batch_size=4, category=None, progress=lambda *_: None, save="all",
    )  # fmt: skip
    with (tmp_path / "whole" / "results.csv").open(encoding="utf-8", newline="") as file:
        wanted = list(csv.DictReader(file))
    done = judged(tmp_path / "parts", ["."], pictures=("all", "small", "tiff"))
    rows = _parts(tmp_path / "parts")
    assert [{name: "" if row[name] is None else str(row[name]) for name in COLUMNS} for row in rows] == wanted
    assert (done.images, done.parts, done.known) == (26, 4, 0)
    assert sum(done.verdicts.values()) == 26
    backwards = judged(f"file://{tmp_path}/back", sorted(Path().rglob("*.*g"), reverse=True), part_images=3)
    assert backwards.verdicts == done.verdicts

    def scored(some: list[dict[str, Any]]) -> list[Any]:
        return sorted(
            (row["path"], row["category"], row["score"], row["verdict"], row["p_value"])
            for row in some
            if not row["error"]
        )

    assert scored(_parts(tmp_path / "back")) == scored(rows)


@pytest.mark.usefixtures("cluster")
def test_a_job_that_goes_on_judges_what_is_missing_or_damaged_and_nothing_else(
    judged: Callable[..., Done], tmp_path: Path
) -> None:
    judged(tmp_path)
    parts = sorted((tmp_path / "parts").glob("*.parquet"))
    before = {part: part.stat().st_mtime_ns for part in parts}
    rows, said = _parts(tmp_path), list[str]()
    parts[0].unlink()
    parts[2].write_bytes(parts[2].read_bytes()[:-20])
    (tmp_path / "parts" / ".part-000000.parquet.aa.partial").write_bytes(b"half")
    done = judged(tmp_path, note=said.append)
    assert done.known == 2
    assert [part for part in parts if part.stat().st_mtime_ns == before[part]] == [parts[1], parts[3]]
    assert _parts(tmp_path) == rows
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [part.name for part in parts]
    assert any("parts/part-000002.parquet cannot be read and is judged again" in sentence for sentence in said)
    assert judged(tmp_path, acceleration=None).known == 4  # computed as it began, and nothing to do
    with pytest.raises(ConfigError, match="whose part_images is 8, not 9"):
        judged(tmp_path, part_images=9)


@pytest.mark.usefixtures("cluster")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find the judges")
def test_a_judge_killed_midway_loses_nothing(judged: Callable[..., Done], tmp_path: Path) -> None:
    folder, killed = tmp_path / "photos", list[tuple[int, int]]()
    folder.mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (1500, 1500, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "00.png", compress_level=0)
    for number in range(1, 12):
        (folder / f"{number:02d}.png").hardlink_to(folder / "00.png")

    def kill(done: int, total: int) -> None:
        if not killed and (found := _judges()):
            os.kill(found[0], signal.SIGKILL)
            killed.append((done, total))

    done = judged(
        tmp_path / "out", [folder], part_images=1, batch_size=1, progress=kill, pictures=("none", "none", "tiff")
    )
    assert killed
    assert killed[0][0] < killed[0][1] == 12
    assert (done.images, done.parts) == (12, 12)
    rows = _parts(tmp_path / "out")
    assert len({row["path"] for row in rows}) == 12
    assert len({row["score"] for row in rows}) == 1


@pytest.mark.usefixtures("cluster")
def test_a_bundle_that_a_worker_cannot_open_ends_the_job_in_a_line(many: Path, tmp_path: Path) -> None:
    listing, work = list_images([str(many)], str(tmp_path)), Work(out=str(tmp_path), acceleration=ONNX)
    job = _Job(JobFolder(str(tmp_path)), listing, work, 8, lambda *_: None, lambda _: None)
    with pytest.raises(MuadError, match=r"bundle.* Finished parts stay; the same command goes on"):
        job.run(b"no bundle", None, 1)


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "nowhere", "ray://127.0.0.1:{port}"])
def test_a_cluster_that_cannot_be_reached_is_told_in_a_line_at_once(
    judged: Callable[..., Done], tmp_path: Path, address: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(ConfigError, match="address must be that of a Ray cluster that can be reached"):
        judged(tmp_path, address=address.format(port=port))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("how", "told"),
    [({"judges": 0}, "judges must be at least 1"), ({"part_images": 0}, "part_images must be at least 1"),
     ({"category": "screw"}, "category must be one of bolt, cloth")],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_before_ray_starts(
    judged: Callable[..., Done], tmp_path: Path, how: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        judged(tmp_path, **how)
    assert not (tmp_path / "muad-job.json").exists()


def test_a_run_folder_is_no_bundle(many: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run must be a bundle"):
        predict_by_ray(many, [str(many)], str(tmp_path / "out"))


def test_a_place_without_photographs_is_told_before_anything_is_written(
    judged: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="must hold images"):
        judged(tmp_path / "out", [tmp_path / "none"])
    assert not (tmp_path / "out").exists()
