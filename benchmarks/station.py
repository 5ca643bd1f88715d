"""What a station costs beside its predictor, and how long its answers take.

    python benchmarks/station.py BUNDLE PHOTOS

In one run, side by side on this machine: the bare predictor on the files of a folder, the station with as many clients
as keep it busy, the bare predictor again; then latencies at 50, 80 and 120 % of the rate at which it was busy; then its
memory over many requests. Load comes from Locust, in a process of its own on the same cores: what it takes is stated,
because it is time that neither of the others has.

`--short` takes about 3 minutes, without it 12. `--soak BUNDLE` takes another bundle for the memory, such as one whose
network takes no time, so that many requests fit. The table goes to `benchmarks/station.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULT = Path(__file__).with_name("station.md")
LOAD = Path(__file__).with_name("station_load.py")
USERS = 16
SETTINGS = "[access]\nopen = true\nrequests_per_s = 1e6\nburst = 1000000\n"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Something that was done again and again.

    Attributes:
        count: How often.
        seconds: Of the clock.
        cpu: Of processors.
    """

    count: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """A second."""
        return self.count / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Each."""
        return 1000 * self.cpu / max(1, self.count)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path, help="folder with photographs, PNG or JPEG, folders in it too")
    parser.add_argument("--category", default="", help="what they show, for a bundle that has to be told")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--soak", type=Path, help="bundle for the memory; the same if not given")
    parser.add_argument("--requests", type=int, help="requests of the memory; 50,000 with --soak, else 2,000")
    parser.add_argument("--bare", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare is not None:
        print(json.dumps(bare(given.bundle, given.photos, given.category, given.bare)))
        return
    if not photos_in(given.photos):
        raise SystemExit(f"photos must be a folder with PNG or JPEG files, got {given.photos}")
    span = 12.0 if given.short else 45.0
    before = bare_apart(given, span)
    with served(given.bundle) as station:
        load(station, given, users=2, rate=0, seconds=3)  # what is made once is made before
        busy, lines = busy_rows(station, given, span, before)
        after = bare_apart(given, span)
        lines += overhead_rows(before, after, busy)
        lines += ["", *latency_rows(station, given, span, busy.rate)]
        lines += ["", *stage_rows(station)]
    lines += ["", *memory_rows(given)]
    head = [
        f"`python benchmarks/station.py {' '.join(sys.argv[1:])}`: {platform.processor() or platform.machine()}, "
        f"{os.cpu_count()} processors shared with the load, load average before {os.getloadavg()[2]:.1f}, "
        f"{given.bundle.name}, {len(photos_in(given.photos))} photographs.",
        "",
    ]
    RESULT.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
    print("\n".join([*head, *lines]))


def photos_in(folder: Path) -> list[Path]:
    """Photographs in a folder and its folders, without masks."""
    found = (file for file in sorted(folder.rglob("*")) if file.suffix.lower() in (".png", ".jpg", ".jpeg"))
    return [file for file in found if "ground_truth" not in file.parts]


def bare(bundle: Path, photos: Path, category: str, seconds: float) -> dict[str, float]:
    """The predictor alone, for some seconds: files decoded, judged, regions found; as in a loop of one's own."""
    from muad import Predictor

    files = photos_in(photos)
    predictor = Predictor(bundle)

    def endless(until: float) -> Iterator[Path]:
        while time.perf_counter() < until:
            yield from files

    list(predictor.stream(files[:4], category=category or None))
    began, cpu, count = time.perf_counter(), time.process_time(), 0
    for found in predictor.stream(endless(began + seconds), batch_size=8, category=category or None):
        found.to_dict()
        count += 1
        if time.perf_counter() - began >= seconds:
            break
    return {"count": count, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


def bare_apart(given: argparse.Namespace, seconds: float) -> Work:
    """The same in a process of its own, as the station is one."""
    command = [sys.executable, __file__, str(given.bundle), str(given.photos), "--bare", str(seconds)]
    if given.category:
        command += ["--category", given.category]
    return Work(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


class Served:
    """A station in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], address: str, folder: Path) -> None:
        self.process, self.address, self.folder = process, address, folder

    def cpu(self) -> float:
        """Processor seconds it has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_mib(self) -> float:
        """Memory it holds."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def get(self, path: str) -> str:
        """What it answers."""
        import httpx

        return httpx.get(f"{self.address}{path}", trust_env=False, timeout=30).text


@contextmanager
def served(bundle: Path) -> Iterator[Served]:
    """A station of a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "station.toml").write_text(SETTINGS)
        command = [sys.executable, "-m", "muad", "serve", str(bundle), "--data", name, "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            address = process.stdout.readline().split(" ")[0]
            yield Served(process, address, folder)
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()


def load(station: Served, given: argparse.Namespace, *, users: int, rate: float, seconds: float) -> dict[str, Any]:
    """What Locust found: of each kind of answer the count and times, and processor seconds of both sides."""
    environment = os.environ | {
        "LOAD_PHOTOS": str(given.photos), "LOAD_RATE": str(rate / users), "LOAD_CATEGORY": given.category,
    }  # fmt: skip
    command = [
        sys.executable, "-m", "locust", "-f", str(LOAD), "--headless", "--json", "--skip-log", "--host",
        station.address, "--users", str(users), "--spawn-rate", str(users), "--run-time", f"{seconds:g}s",
        "--stop-timeout", "60",
    ]  # fmt: skip
    cpu, own = station.cpu(), os.times()
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    ended = os.times()
    if not ran.stdout.strip():
        raise SystemExit(f"locust has failed: {ran.stderr[-2000:]}")
    found: dict[str, Any] = {"kinds": {}, "cpu": station.cpu() - cpu}
    found["load_cpu"] = ended.children_user + ended.children_system - own.children_user - own.children_system
    for kind in json.loads(ran.stdout):
        found["kinds"][kind["name"]] = kind
        if kind["num_failures"]:
            raise SystemExit(f"{kind['num_failures']} requests were answered with an error")
    return found


def work_of(found: dict[str, Any]) -> Work:
    """What was answered."""
    kind = found["kinds"]["answered"]
    seconds = kind["last_request_timestamp"] - kind["start_time"]
    return Work(count=kind["num_requests"], seconds=seconds, cpu=found["cpu"])


def busy_rows(station: Served, given: argparse.Namespace, span: float, before: Work) -> tuple[Work, list[str]]:
    """The station with as many clients as keep it busy."""
    found = load(station, given, users=USERS, rate=0, seconds=span)
    busy = work_of(found)
    sent_ms = 1000 * found["load_cpu"] / busy.count
    return busy, [
        "| | photographs a second | processor ms each |",
        "|---|---|---|",
        f"| predictor alone, before | {before.rate:.1f} | {before.cpu_ms:.1f} |",
        f"| station, {USERS} clients | {busy.rate:.1f} | {busy.cpu_ms:.1f}, and {sent_ms:.1f} of the load |",
    ]


def overhead_rows(before: Work, after: Work, busy: Work) -> list[str]:
    """The station beside the mean of the predictor before and after."""
    rate, cpu = (before.rate + after.rate) / 2, (before.cpu_ms + after.cpu_ms) / 2
    return [
        f"| predictor alone, after | {after.rate:.1f} | {after.cpu_ms:.1f} |",
        f"| overhead of the station | {100 * (1 - busy.rate / rate):.0f} % | {100 * (busy.cpu_ms / cpu - 1):.0f} % |",
    ]


def latency_rows(station: Served, given: argparse.Namespace, span: float, rate: float) -> list[str]:
    """Times of answers at shares of the rate at which it was busy; beyond it, who comes too often is told so."""
    lines = ["| load | sent a second | p50 | p95 | p99 | answered with 503 |", "|---|---|---|---|---|---|"]
    for share in (0.5, 0.8, 1.2):
        users = max(4, round(6 * rate)) if share > 1 else max(4, round(3 * rate))
        kinds = load(station, given, users=min(users, 200), rate=share * rate, seconds=span)["kinds"]
        own, refused = kinds["answered"], kinds.get("busy", {"num_requests": 0})["num_requests"]
        times = sorted((float(ms), count) for ms, count in own["response_times"].items())
        p50, p95, p99 = (percentile(times, level) for level in (0.5, 0.95, 0.99))
        whole = own["num_requests"] + refused
        lines.append(
            f"| {100 * share:.0f} % | {share * rate:.1f} | {p50:.0f} ms | {p95:.0f} ms | {p99:.0f} ms "
            f"| {refused} of {whole} |"
        )
    return lines


def percentile(times: list[tuple[float, int]], level: float) -> float:
    """Of times and how often each was met."""
    wanted, seen = level * sum(count for _, count in times), 0
    for time_ms, count in times:
        seen += count
        if seen >= wanted:
            return time_ms
    return times[-1][0]


def stage_rows(station: Served) -> list[str]:
    """Mean times by stage over all of it, from the station's own metrics."""
    sums: dict[str, list[float]] = {}
    for line in station.get("/metrics").splitlines():
        for place, name in enumerate(("muad_stage_seconds_sum", "muad_stage_seconds_count")):
            if line.startswith(f"{name}{{"):
                stage, _, value = line.partition('stage="')[2].partition('"} ')
                sums.setdefault(stage, [0.0, 0.0])[place] = float(value)
    lines = ["| stage | mean |", "|---|---|"]
    return lines + [f"| {stage} | {1000 * total / max(1, count):.1f} ms |" for stage, (total, count) in sums.items()]


def memory_rows(given: argparse.Namespace) -> list[str]:
    """Memory of a station over many requests."""
    bundle = given.soak or given.bundle
    wanted = given.requests or (50_000 if given.soak else 2_000)
    if given.short:
        wanted = min(wanted, 5_000 if given.soak else 300)
    found: list[tuple[int, float]] = []
    with served(bundle) as station:
        done, began = 0, time.perf_counter()
        while done < wanted:
            answered = load(station, given, users=USERS, rate=0, seconds=2 if done == 0 else 10)["kinds"]["answered"]
            done += answered["num_requests"]
            found.append((done, station.memory_mib()))
        seconds = time.perf_counter() - began
    shown = found[:: max(1, len(found) // 8)]
    shown = shown if shown[-1] == found[-1] else [*shown, found[-1]]
    rows = " | ".join(f"{mib:.0f}" for _, mib in shown)
    heads = " | ".join(f"{count:,}" for count, _ in shown)
    return [
        f"Memory over {done:,} requests of {bundle.name} in {seconds:.0f} s ({done / seconds:.0f} a second):",
        "",
        f"| requests | {heads} |",
        f"|---|{'---|' * len(shown)}",
        f"| MiB | {rows} |",
    ]


if __name__ == "__main__":
    main()
