"""How often photographs are flagged, good, bad and taken wrongly: `python benchmarks/capture.py DATA... [--each 25]`.

Last, whether the promise holds: so many good photographs of each category, drawn 20 times, set limits, and up to 40
others are held against them.

How a product is photographed is learned from the training images of every category, as `muad train` does. Then all its
test images are looked at as they are, and some good ones as a failing lamp, lens, camera or hand would have made them;
last, frames that show nothing, and good photographs of the other categories. Nothing of the detector or of recognition
takes part. Prints the tables of docs/capture-proof.md and what one photograph costs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from muad.capture import Capture, CaptureLimits, measure
from muad.capture.learning import learn_category
from muad.capture.limits import CAPTURE_RATE
from muad.capture.setting import Learned, learn_limits
from muad.datasets.index import open_catalog
from muad.images.loading import read_ahead
from muad.images.reading import read_image
from muad.types import Record

NOISE_LEVELS = 1.5  # of the sensor, added again where a lens blurs: it blurs the part, not the noise
FRAME = (1024, 1280)
COUNTS = (11, 20, 45, 110)  # of good photographs that set limits


def with_noise(image: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    """The same from a camera with that much noise, in grey levels."""
    return image + random.normal(0, deviation, (*image.shape[:2], 1))


def blurred(image: np.ndarray, kernel: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The image through that kernel, with the sensor's noise on top."""
    return with_noise(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT), NOISE_LEVELS, random)


def gaussian(sigma: float) -> np.ndarray:
    """A kernel of a lens that is out of focus or dirty."""
    line = cv2.getGaussianKernel(2 * int(np.ceil(3 * sigma)) + 1, sigma)
    return line @ line.T


def disc(radius: float) -> np.ndarray:
    """A kernel of a lens out of focus."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = (x * x + y * y <= radius * radius).astype(np.float64)
    return inside / inside.sum()


def line(length: int) -> np.ndarray:
    """A kernel of a part that moves sideways while it is exposed."""
    return np.full((1, length), 1 / length)


Fault = Callable[[np.ndarray, np.random.Generator], np.ndarray]
FAULTS: Mapping[str, Fault] = {
    "half the light": lambda image, _: image * 0.5,
    "light x 0.8": lambda image, _: image * 0.8,
    "light x 1.25": lambda image, _: image * 1.25,
    "double light": lambda image, _: image * 2,
    "fog (half of it)": lambda image, _: image * 0.5 + image.mean() * 0.5,
    "Gaussian blur, 1 px": lambda image, random: blurred(image, gaussian(1), random),
    "Gaussian blur, 2 px": lambda image, random: blurred(image, gaussian(2), random),
    "Gaussian blur, 4 px": lambda image, random: blurred(image, gaussian(4), random),
    "defocus, radius 3 px": lambda image, random: blurred(image, disc(3), random),
    "defocus, radius 6 px": lambda image, random: blurred(image, disc(6), random),
    "motion, 7 px": lambda image, random: blurred(image, line(7), random),
    "motion, 15 px": lambda image, random: blurred(image, line(15), random),
    "noise of 8 levels": lambda image, random: with_noise(image, 8, random),
    "half a frame": lambda image, _: np.concatenate(
        [image[: len(image) // 2], np.full_like(image[len(image) // 2 :], 128)]
    ),
}


def empty_frames(random: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """What a camera sends that sees nothing."""
    y, x = np.mgrid[: FRAME[0], : FRAME[1]]
    grey = lambda level: np.full(FRAME, level)  # noqa: E731
    frames = {
        "one grey, each of 256": [grey(level) for level in range(256)],
        "lens cap: level 6, noise 3": [with_noise(grey(6.0)[..., None], 3, random)[..., 0] for _ in range(10)],
        "grey 128, noise 5": [with_noise(grey(128.0)[..., None], 5, random)[..., 0] for _ in range(10)],
        "noise only, all levels": [random.uniform(0, 256, FRAME) for _ in range(10)],
        "stripes, checks, bars": [
            np.where(y // 8 % 2, 60.0, 200.0),
            np.where((y // 32 + x // 32) % 2, 0.0, 255.0),
            np.repeat(np.arange(8) * 32.0, FRAME[1] // 8)[None].repeat(FRAME[0], 0),
            np.where(x % 2, 100.0, 101.0),
        ],
    }
    return {name: [as_image(frame[..., None].repeat(3, 2)) for frame in found] for name, found in frames.items()}


def as_image(values: np.ndarray) -> np.ndarray:
    """Values as a camera gives them."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def share(flagged: list[bool]) -> str:
    """In how many percent."""
    return f"{100 * np.mean(flagged):.1f}" if flagged else "-"


def row(*cells: object) -> None:
    """A line of a Markdown table."""
    print("| " + " | ".join(map(str, cells)) + " |")


def promise(captured: Mapping[str, list[Capture]]) -> None:
    """Print how many of further good photographs are flagged, by how many set the limits."""
    row("good to learn from", "rate, at most", *captured)
    row(*["---"] * (len(captured) + 2))
    for count in COUNTS:
        random, cells = np.random.default_rng(0), []
        for found in captured.values():
            flagged = []
            for _ in range(20 if len(found) >= count + 9 else 0):
                order = random.permutation(len(found))
                learned = learn_limits([found[place] for place in order[:count]], [], CAPTURE_RATE)
                if learned is not None:
                    limits = CaptureLimits(rate=CAPTURE_RATE, categories={"": learned.bounds})
                    flagged += [bool(limits.reasons("", found[place])) for place in order[count : count + 40]]
            cells.append(share(flagged))
        row(count, f"{100 * max(CAPTURE_RATE, 1 / (count + 1)):.2g}", *cells)


def cost() -> None:
    """Processor time of one photograph, best of 12, on one thread."""
    cv2.setNumThreads(1)
    coarse = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    for height, width in ((512, 512), (1200, 1600), (3000, 4000)):
        image, taken = cv2.resize(coarse, (width, height)), []
        for _ in range(12):
            begun = time.process_time()
            measure(image)
            taken.append(time.process_time() - begun)
        print(f"{width} x {height}: {1000 * min(taken):.1f} ms")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--each", type=int, default=25, help="good test images of a category that faults are put in")
    options = parser.parse_args()
    records = [record for data in options.data for record in open_catalog(data).records]
    names = sorted({record.category for record in records})

    def chosen(name: str, split: str, *, bad: bool = False) -> list[Record]:
        return [each for each in records if (each.category, each.split, each.is_anomalous) == (name, split, bad)]

    def look(record: Record) -> Capture:
        return measure(read_image(record.path))

    known: dict[str, Learned] = {}
    for name in names:
        learned = learn_category(name, [each.path for each in chosen(name, "train")], CAPTURE_RATE)
        if learned is not None:
            known[name] = learned
    names = list(known)
    limits = CaptureLimits(rate=CAPTURE_RATE, categories={name: learned.bounds for name, learned in known.items()})

    def flags(name: str | None, found: list[Capture]) -> list[bool]:
        return [bool(limits.reasons(name, each)) for each in found]

    seen = {name: list(read_ahead(look, chosen(name, "test"))) for name in names}
    row(
        "category",
        "good to learn from",
        "that differ",
        "rate, at most",
        "test images: good, bad",
        "flagged, good",
        "bad",
    )
    row(*["---"] * 7)
    for name, learned in known.items():
        bad = list(read_ahead(look, chosen(name, "test", bad=True)))
        counts = f"{len(seen[name])}, {len(bad)}"
        row(name, learned.photographs, learned.independent, f"{100 * learned.rate:.2g}", counts,
            share(flags(name, seen[name])), share(flags(name, bad)))  # fmt: skip

    print()
    row("taken wrongly", *names)
    row(*["---"] * (len(names) + 1))
    sample = {name: chosen(name, "test")[:: max(1, len(seen[name]) // options.each)] for name in names}
    for fault, change in FAULTS.items():
        cells = []
        for name in names:
            random = np.random.default_rng(0)
            images = (read_image(record.path).astype(np.float32) for record in sample[name])
            cells.append(share(flags(name, [measure(as_image(change(image, random))) for image in images])))
        row(fault, *cells)
    for kind, frames in empty_frames(np.random.default_rng(0)).items():
        found = [measure(frame) for frame in frames]
        row(kind, *(share(flags(name, found)) for name in names))
        row("… without learned limits", *([share(flags(None, found))] * len(names)))
    row("another product", *(
        share([flag for other in names if other != name for flag in flags(name, seen[other])]) for name in names
    ))  # fmt: skip
    print()
    promise({name: list(read_ahead(look, chosen(name, "train")[:240])) for name in names})
    print()
    cost()


if __name__ == "__main__":
    main()
