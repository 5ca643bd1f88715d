"""Threads are counted by what the process may really use, and sleep when they wait."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from muad.threads import Cores, cpu_quota, usable_cores

_VARIABLES = ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")
_SEEN = f"print(json.dumps({{name: os.environ.get(name) for name in {_VARIABLES}}}))"
FIRST_NAME = f"import json, os, sys, muad; muad.MuadError; {_SEEN}"


def run_python(code: str, *before: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    command = [*before, sys.executable, "-c", code]
    done = subprocess.run(command, env=clean | environment, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n")
    return folder


def test_the_first_name_used_settles_threads_before_torch_is_loaded() -> None:
    expected = str(usable_cores().threads)
    assert json.loads(run_python(FIRST_NAME)) == {
        "OMP_NUM_THREADS": expected,
        "OPENCV_FOR_THREADS_NUM": expected,
        "OMP_WAIT_POLICY": "passive",
        "KMP_BLOCKTIME": "0",
        "GOMP_SPINCOUNT": None,
    }


def test_what_the_user_set_is_left_alone() -> None:
    found = json.loads(run_python(FIRST_NAME, OMP_NUM_THREADS="3,2", GOMP_SPINCOUNT="1000"))
    assert found["OMP_NUM_THREADS"] == "3,2"
    assert found["OPENCV_FOR_THREADS_NUM"] == "3", "the same number for OpenCV"
    assert (found["OMP_WAIT_POLICY"], found["KMP_BLOCKTIME"]) == (None, None), "waiting was thought about"


def test_torch_loaded_before_is_left_alone() -> None:
    found = json.loads(run_python(f"import sys, types; sys.modules['torch'] = types.ModuleType('torch'); {FIRST_NAME}"))
    assert set(found.values()) == {None}


def test_importing_the_package_sets_nothing_and_loads_nothing_large() -> None:
    code = f"import json, os, sys, muad; assert not {{'torch', 'numpy'}} & set(sys.modules); {_SEEN}"
    assert set(json.loads(run_python(code)).values()) == {None}


def test_torch_and_opencv_take_the_number() -> None:
    code = "import muad; muad.MuadError; import torch, cv2; print(torch.get_num_threads(), cv2.getNumThreads())"
    assert run_python(code, OMP_NUM_THREADS="1") == "1 1"


def test_affinity_is_obeyed() -> None:
    if shutil.which("taskset") is None:
        pytest.skip("taskset is not installed; it comes with util-linux")
    first = str(min(os.sched_getaffinity(0)))
    found = json.loads(run_python(FIRST_NAME, "taskset", "--cpu-list", first))
    assert found["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"proc/self/cgroup": "0::/"}, None),
        ({}, None),
        # The least of all levels counts, and levels the container does not see are passed over.
        (
            {
                "proc/self/cgroup": "0::/pod/box",
                "sys/fs/cgroup/cpu.max": "max 100000",
                "sys/fs/cgroup/pod/cpu.max": "200000 100000",
                "sys/fs/cgroup/pod/box/cpu.max": "400000 100000",
            },
            2.0,
        ),
        ({"proc/self/cgroup": "0::/host/name", "sys/fs/cgroup/cpu.max": "300000 100000"}, 3.0),
        (
            {
                "proc/self/cgroup": "4:memory:/\n1:cpu,cpuacct:/docker/abc",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "9:cpuset:/\n1:cpu:/\n0::/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "nonsense"}, None),
    ],
)
def test_quota_of_both_versions_of_control_groups(tmp_path, files, quota) -> None:
    write(tmp_path, files)
    assert cpu_quota(tmp_path / "sys", tmp_path / "proc") == quota
    assert usable_cores(system=tmp_path / "sys", processes=tmp_path / "proc").quota == quota


def test_two_threads_of_one_core_count_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    write(
        tmp_path,
        {f"devices/system/cpu/cpu{number}/topology/core_id": str(number % 2) for number in range(4)}
        | {f"devices/system/cpu/cpu{number}/topology/physical_package_id": "0" for number in range(4)},
    )
    cores = usable_cores(system=tmp_path, processes=tmp_path)
    assert (cores.allowed, cores.physical, cores.threads) == (4, 2, 2)
    assert usable_cores(system=tmp_path / "masked", processes=tmp_path).physical == 4


@pytest.mark.parametrize(("quota", "threads"), [(None, 8), (0.2, 1), (1.4, 1), (1.5, 2), (2.0, 2), (64.0, 8)])
def test_threads_are_as_many_as_can_compute_at_the_same_time(quota, threads) -> None:
    assert Cores(allowed=16, physical=8, quota=quota).threads == threads


def test_processes_that_train_together_share_the_threads(monkeypatch) -> None:
    code = """
import os, muad.threads as threads
threads.usable_cores = lambda: threads.Cores(allowed=8, physical=8, quota=None)
threads.prepare_threads()
assert os.environ["OMP_NUM_THREADS"] == "8"
assert threads.share_threads(1) is None
print(threads.share_threads(4), os.environ["OMP_NUM_THREADS"], os.environ["OPENCV_FOR_THREADS_NUM"])
"""
    assert run_python(code) == "2 2 2"
    ours = "import muad.threads as threads; threads.prepare_threads(); print(threads.share_threads(2))"
    assert run_python(ours, OMP_NUM_THREADS="5") == "None"
