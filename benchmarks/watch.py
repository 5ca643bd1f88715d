"""From a photograph being whole in a watched folder to its line, in seconds: `python benchmarks/watch.py RUN IMAGES`.

Files are copied in under an unfinished name and renamed, one at a time, with the command in a process of its own.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from muad.outputs import find_images


def main(run: Path, images: Path, *options: str) -> None:
    """Time thirty photographs."""
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name, "in"), Path(name, "out")
        folder.mkdir()
        command = [sys.executable, "-m", "muad", "watch", folder, "--run", run, "--out", out, "--json", *options]
        with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            times = []
            for number, source in enumerate(find_images([images])[:31]):
                file = folder / f"{number:04d}{source.path.suffix}"
                shutil.copyfile(source.path, file.with_name(f"{file.name}.part"))
                file.with_name(f"{file.name}.part").rename(file)
                begun = time.perf_counter()
                entry = json.loads(process.stdout.readline())
                times.append(time.perf_counter() - begun)
                assert entry["name"] == file.name, entry
            process.terminate()
        times = sorted(times[1:])  # the first has waited for the run to be loaded
        print(f"{len(times)} images: median {statistics.median(times):.2f} s, longest {times[-1]:.2f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
