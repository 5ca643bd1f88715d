"""Which runtime computes a bundle here: what is asked for, else the fastest that keeps to its golden samples.

Where there is a choice, it is measured when a bundle is opened for the first time, which takes a few seconds, and kept
in the user's cache folder (MUAD_CACHE) under a name that covers networks, samples, versions and processor. Where that
folder cannot be written, it is measured each time.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from muad._version import __version__
from muad.bundles.archive import BundleError
from muad.bundles.onnx_graph import require_self_contained
from muad.errors import ConfigError
from muad.runtime.golden import Measured, golden_samples, measure
from muad.runtime.network_scorer import NetworkScorer
from muad.runtime.sessions import (
    PACKAGES,
    Session,
    onnx_session,
    openvino_session,
    require_backend,
    runtime_version,
    runtimes,
)
from muad.threads import computing_threads

if TYPE_CHECKING:
    from muad.bundles.bundle import Bundle
    from muad.bundles.manifest import NetworkFacts, Precision
    from muad.images.preprocessing import Preprocessing
    from muad.runtime.computing import Acceleration

_MOST_SAMPLES = 2  # are enough to choose by


class Choice(NamedTuple):
    """A way to compute a bundle."""

    backend: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.backend} in {self.precision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A way to compute a bundle, tried here.

    Attributes:
        choice: Which.
        measured: What came out; None where it cannot be computed so here.
        fault: Why not.
    """

    choice: Choice
    measured: Measured | None
    fault: str | None = None


def choices(bundle: Bundle, asked: Acceleration | None, device: str) -> list[Choice]:
    """All ways to compute every network of a bundle here that go with what is asked for.

    Raises:
        ConfigError: There is none.
    """
    backend, wanted = ("auto", "auto") if asked is None else (asked.backend, asked.precision)
    if backend == "torch" or (asked is not None and asked.compile):
        raise ConfigError(
            f"backend must be auto, onnx or openvino for a bundle, got {backend}. It holds no torch network."
        )
    kind = device.partition(":")[0]
    fitting = {"cpu": tuple(PACKAGES), "auto": tuple(PACKAGES), "cuda": ("onnx",), "tensorrt": ("onnx",)}
    by_device = fitting.get(kind, ("openvino",))
    asked_for = by_device if backend == "auto" else (backend,)
    names = [name for name in asked_for if name in runtimes()] if backend == "auto" else [*asked_for]
    if not names:
        package = PACKAGES[asked_for[0]]
        raise ConfigError(
            f"package {package} must be installed to compute a bundle, got none. Run: pip install {package}"
        )
    for name in names:
        require_backend(name, device)
    found = [Choice(name, precision) for name in names for precision in _precisions(bundle, name)]
    if wanted == "auto":
        return found
    chosen = [choice for choice in found if choice.precision == wanted]
    if not chosen:
        there = ", ".join(sorted({choice.precision for choice in found}))
        raise ConfigError(
            f"precision must be one that the bundle holds for {' or '.join(names)}, {there}, got {wanted}. "
            f"Export it again with --precision {wanted}."
        )
    return chosen


def choose(
    bundle: Bundle,
    asked: Acceleration | None,
    device: str,
    preprocessing: Preprocessing,
    note: Callable[[str], None] = lambda _: None,
) -> Choice:
    """The one to compute a bundle by here, measured where there is a choice.

    Raises:
        ConfigError: There is none, or none that can be computed.
        BundleError: A golden sample is not what it must be.
    """
    found = choices(bundle, asked, device)
    network = bundle.manifest.golden[0].network if bundle.manifest.golden else None
    if len(found) == 1 or network is None:
        return found[0]
    file = _memory(bundle, found, device)
    if (known := _remembered(file, found)) is not None:
        return known
    outcomes = [attempt(bundle, network, choice, device, preprocessing) for choice in found]
    kept = [
        (each.measured.ms_per_view, each.choice)
        for each in outcomes
        if each.measured and each.measured.within(bundle.manifest.limits_of(each.choice.precision))
    ]
    if not kept:
        note("no runtime here keeps to the golden samples: see muad check-bundle; float32 is used all the same")
        return next((each.choice for each in outcomes if each.measured), found[0])
    milliseconds, best = min(kept)
    _remember(file, best)
    note(f"computed by {best}, the fastest of {len(found)} ways here: {milliseconds:.0f} ms a view")
    return best


def attempt(
    bundle: Bundle, network: str, choice: Choice, device: str, preprocessing: Preprocessing, most: int = _MOST_SAMPLES
) -> Outcome:
    """A way to compute one network of a bundle, tried on its golden samples."""
    samples = golden_samples(bundle, network)[:most]
    try:
        scorer = network_scorer(bundle, network, choice, device, preprocessing)
        return Outcome(choice=choice, measured=measure(scorer, samples))
    except (ConfigError, BundleError) as error:
        return Outcome(choice=choice, measured=None, fault=str(error))


def network_scorer(
    bundle: Bundle, network: str, choice: Choice, device: str, preprocessing: Preprocessing
) -> NetworkScorer:
    """A network of a bundle at work.

    Raises:
        ConfigError: The runtime is not here.
        BundleError: It cannot compute this network.
    """
    facts = bundle.manifest.networks[network]
    at_once = device.partition(":")[0] not in ("auto", "cpu")  # a processor has its caches for one image
    sessions = list(_sessions(bundle, facts, choice, device))
    return NetworkScorer(sessions, facts, preprocessing, at_once=at_once)


def recogniser_session(bundle: Bundle, choice: Choice, device: str) -> Session:
    """The network that products are recognised by, in float32.

    Raises:
        ConfigError: The runtime is not here.
        BundleError: It cannot compute it.
    """
    facts = bundle.manifest.recogniser
    if facts is None:
        raise BundleError("bundle must hold a recogniser to recognise products, got none.")
    content = bundle.read(facts.member)
    require_self_contained(content, facts.member)
    return onnx_session(content, device) if choice.backend == "onnx" else openvino_session(content, None, device)


def _sessions(bundle: Bundle, facts: NetworkFacts, choice: Choice, device: str) -> Iterator[Session]:
    """One for each part, of which one alone may be in a lower precision."""
    parts = _parts(facts, choice)
    lowered = parts[0 if facts.lowered == "first" else -1]
    for part in parts:
        content = bundle.read(part)
        if not part.endswith(".xml"):
            require_self_contained(content, part)
        if choice.backend == "onnx":
            yield onnx_session(content, device)
            continue
        weights = bundle.read(f"{part.removesuffix('.xml')}.bin") if part.endswith(".xml") else None
        precision = choice.precision if part == lowered else "fp32"
        yield openvino_session(content, weights, device, precision)


def _parts(facts: NetworkFacts, choice: Choice) -> tuple[str, ...]:
    """The members that a way takes; empty where there are none."""
    if choice.backend == "openvino" and choice.precision in facts.files.openvino:
        return facts.files.openvino[choice.precision]
    return facts.files.network.get(choice.precision, ())


def _precisions(bundle: Bundle, backend: str) -> list[Precision]:
    """Those in which a backend finds every network; ONNX Runtime computes no bfloat16 on a processor."""
    every = cast("tuple[Precision, ...]", ("fp32", "int8") if backend == "onnx" else ("fp32", "bf16", "int8"))
    networks = bundle.manifest.networks.values()
    return [name for name in every if all(_parts(facts, Choice(backend, name)) for facts in networks)]


def _memory(bundle: Bundle, found: list[Choice], device: str) -> Path:
    """Where the choice is kept."""
    root = os.environ.get("MUAD_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    folder = Path(root) if root else Path(base) / "muad"
    manifest = bundle.manifest
    facts: list[object] = [
        sorted((name, manifest.members[name].sha256) for name in manifest.needed),
        __version__,
        device,
    ]
    facts += [[*choice, runtime_version(choice.backend)] for choice in found]
    facts += [platform.node(), platform.machine(), platform.processor(), computing_threads()]
    return folder / "runtimes" / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}.json"


def _remembered(file: Path, found: list[Choice]) -> Choice | None:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return next((choice for choice in found if [*choice] == values), None)
    except (OSError, ValueError):
        return None


def _remember(file: Path, choice: Choice) -> None:
    """Where it can be; nothing depends on it."""
    draft = file.with_name(f"{file.name}.{os.getpid()}.partial")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps([*choice]), encoding="utf-8")
        draft.replace(file)
