"""Carries out the steps of deploy/Dockerfile without Docker, and asks the station that they give.

    python benchmarks/deployment.py BUNDLE [PHOTOGRAPH]

What `COPY` names is copied and what `RUN` says is run, below a fresh folder and, for root, as a user without rights;
then the station is started as the image would start it, with its program read-only. Takes a few minutes and a network.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PORT = 18_420
NOBODY = 10_001


def instructions(text):
    """Instructions of a Dockerfile as (word, rest), with continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (word, rest.strip()) for line in joined.splitlines() if line.strip() for word, _, rest in [line.partition(" ")]
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photograph", type=Path, nargs="?", help="Sent to the station; else one of noise.")
    parser.add_argument("--python", default="/usr/bin/python3", help="What a user without rights may run.")
    chosen = parser.parse_args()
    steps = instructions((ROOT / "deploy/Dockerfile").read_text())
    work = Path(tempfile.mkdtemp(prefix="muad-deployment-"))
    try:
        work.chmod(0o755)
        carry_out(steps, work, chosen)
    finally:
        subprocess.run(["chmod", "-R", "u+w", work], check=False)
        shutil.rmtree(work, ignore_errors=True)


def carry_out(steps, work, chosen):
    """The build stage, the settings of the second stage, then the station."""
    source, target, station = work / "source", work / "opt", work / "station"
    for folder in (source, target, station, work / "tmp"):
        folder.mkdir(mode=0o755)
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    for word, rest in steps:
        if word == "COPY" and not rest.startswith("--from"):
            *names, place = rest.split()
            for name in names:
                to = source / place / Path(name).name if place.endswith("/") else source / place
                to.parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, to)
    shutil.copy(chosen.bundle, work / "model.muad")
    if who:
        for folder in (source, target, station, work / "tmp"):
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", folder], check=True)
        subprocess.run(["chmod", "a+r", work / "model.muad"], check=True)
    inside = {"PATH": os.environ["PATH"], "TMPDIR": str(work / "tmp"), "PYTHON": chosen.python}
    inside |= {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "SSL_")) or "proxy" in name.lower()
    }
    began = time.perf_counter()
    (run,) = [rest for word, rest in steps if word == "RUN" and rest.startswith("deploy/")]
    subprocess.run(
        ["sh", "-euc", run.replace("/opt/muad", f"{target}/muad")], cwd=source, env=inside, check=True, **who
    )
    size = int(subprocess.run(["du", "-sm", target], capture_output=True, text=True, check=True).stdout.split()[0])
    print(f"installed in {time.perf_counter() - began:.0f} s, {size} MB, as {NOBODY if who else os.getuid()}")
    subprocess.run(["chmod", "-R", "a-w", target], check=True)
    python = target / "muad/bin/python"
    missing = subprocess.run(
        [python, "-c", "import torch"], capture_output=True, text=True, check=False, env=inside, **who
    )
    assert "No module named 'torch'" in missing.stderr, missing.stderr
    environment = {
        key: value
        for word, rest in steps
        if word == "ENV"
        for key, _, value in [pair.partition("=") for pair in shlex.split(rest)]
    }
    inside |= {
        key: value.replace("/opt/muad", f"{target}/muad").replace("/tmp", str(work / "tmp"))
        for key, value in environment.items()
    }
    inside["PATH"] = f"{target}/muad/bin:{os.environ['PATH']}"
    (entry,), (health,) = (
        [json.loads(rest[rest.index("[") :]) for word, rest in steps if word == wanted]
        for wanted in ("ENTRYPOINT", "HEALTHCHECK")
    )
    command = [*entry, str(work / "model.muad"), "--data", str(station), "--host", "127.0.0.1", "--port", str(PORT)]
    began = time.perf_counter()
    served = subprocess.Popen(command, cwd=station, env=inside, **who)
    try:
        asked = [part.replace(":8420", f":{PORT}") for part in health]
        while subprocess.run(asked, env=inside, capture_output=True, check=False, cwd=station, **who).returncode:
            if served.poll() is not None or time.perf_counter() - began > 120:
                sys.exit(f"the station did not become healthy: {served.poll()}")
            time.sleep(0.2)
        print(f"healthy after {time.perf_counter() - began:.1f} s, by the health check of the image")
        ask(station, chosen.photograph)
    finally:
        served.send_signal(signal.SIGTERM)
        print(f"ended with {served.wait(timeout=60)}")


def ask(station, photograph):
    """One photograph with the first token, and what must not be answered without."""
    token = (station / "first-token.txt").read_text().strip()
    if photograph is None:
        import numpy as np
        from PIL import Image

        photograph = station.parent / "noise.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)).save(photograph)
    address = f"http://127.0.0.1:{PORT}/v1/inspections"
    try:
        urllib.request.urlopen(urllib.request.Request(address, data=photograph.read_bytes()))
        sys.exit("an inspection without a token was answered")
    except urllib.error.HTTPError as error:
        if error.code != 401:
            sys.exit(f"an inspection without a token was answered with {error.code}")
    sent = urllib.request.Request(
        address,
        data=photograph.read_bytes(),
        headers={"authorization": f"Bearer {token}", "content-type": "application/octet-stream"},
    )
    with urllib.request.urlopen(sent, timeout=60) as answer:
        said = json.load(answer)
    print(f"judged: {said['verdict']}, score {said['score']}, {said['times']}")


if __name__ == "__main__":
    main()
