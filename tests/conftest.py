"""Fixtures every test may use."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

if TYPE_CHECKING:
    from muad.bundles.bundle import Bundle
    from muad.bundling.export import Exported
    from muad.configuration.run_config import RunConfig

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Features are kept below a temporary folder, never in the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("MUAD_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def photographs_are_encoded_once() -> Iterator[None]:
    """The frozen encoder that tells products apart is asked once for the same pixels: half of a tiny run's time."""
    from muad.encoders.product_encoder import ProductEncoder
    from muad.recognition import Appearance

    known: dict[tuple[str, bytes], Appearance] = {}
    computed = ProductEncoder.encode

    def encode(encoder: ProductEncoder, images: Sequence[np.ndarray]) -> Appearance:
        seen = hashlib.sha256(b"".join(repr(image.shape).encode() + image.tobytes() for image in images)).digest()
        key = (encoder.fingerprint, seen)
        if key not in known:
            known[key] = computed(encoder, images)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProductEncoder, "encode", encode)
        yield


@pytest.fixture(scope="session", autouse=True)
def the_exporter_is_read_once() -> Iterator[None]:
    """The table of operations of torch's ONNX exporter, which it makes anew for every network: a second each time."""
    from functools import cache

    from torch.onnx._internal.exporter import _registration

    registry: Any = _registration.ONNXRegistry
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "from_torchlib", staticmethod(cache(registry.from_torchlib)))
        yield


@pytest.fixture(scope="session", autouse=True)
def the_recogniser_is_exported_once() -> Iterator[None]:
    """The network that tells products apart is the same in every bundle: five seconds of a processor each time."""
    from functools import cache

    from muad.bundling import export
    from muad.encoders.product_encoder import product_encoder

    computed = export.export_recogniser

    @cache
    def of(fingerprint: str) -> Any:  # a test that has another network gets that one
        return computed()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "export_recogniser", lambda: of(product_encoder("cpu").fingerprint))
        yield


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Reference numbers and real images, kept outside the project; MUAD_SHARED names another place."""
    folder = Path(os.environ.get("MUAD_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"needs the shared reference data, not found at {folder}; set MUAD_SHARED to its folder")
    return folder


@pytest.fixture(scope="session")
def golden(shared_dir: Path) -> dict[str, torch.Tensor]:
    """Numbers recorded once from the authors' implementation of Dinomaly."""
    from safetensors.torch import load_file

    return load_file(shared_dir / "golden" / "dinomaly.safetensors")


TINY_RECIPE = """
[detector]
resize_px = [56, 56]
crop_px = [56, 56]
map_px = 32
easy_ramp_steps = 1

[detector.encoder]
name = "random-custom"
tap_layers = [0, 1, 2, 3]

[detector.encoder.layout]
width = 32
depth = 4
heads = 2
registers = 1
position_grid = 4

[schedule]
total_steps = 12
warmup_steps = 2

[training]
cache = "off"
batch_size = 4
precision = "32-true"
log_every_steps = 1
save_every_steps = 5
"""


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run that takes a second: a random ViT of four small blocks, 12 steps of four images."""
    file = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    file.write_text(TINY_RECIPE, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two categories in MVTec layout, five training images each; read only, copy it to change it."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(3)
    for category in ("bolt", "cloth"):
        places = ["train/good"] * 5 + ["test/good"] * 2 + ["test/scratch"] * 2
        for number, place in enumerate(places):
            pixels = random.integers(60, 180, (60, 64, 3), np.uint8)
            file = root / category / place / f"{number:03d}.png"
            if "scratch" in place:
                pixels[20:40, 10:50] = 255
                mask = root / category / "ground_truth/scratch" / f"{number:03d}_mask.png"
                mask.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.where(pixels.min(axis=2) == 255, 255, 0).astype(np.uint8)).save(mask)
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return root


@pytest.fixture
def train_tiny(tiny_recipe: Path, photos: Path) -> Callable[..., RunConfig]:
    """`muad.train` with the tiny recipe: `train_tiny(out, "section.key=value", …, resume=True)`."""

    def train(out: Path, *overrides: str, data: Path = photos, **how: Any) -> RunConfig:
        from muad import api

        return api.train(data, out, recipe=tiny_recipe, overrides=overrides, device="cpu", **how)

    return train


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two products of the toy factory, 64 px wide; not to be changed."""
    from muad.toy_factory import write_toy_factory

    folder = tmp_path_factory.mktemp("toy") / "data"
    categories = ("pill_blister", "printed_board")
    write_toy_factory(
        folder, image_px=64, train_per_category=5, test_normal=3, test_per_defect=1, categories=categories
    )
    return folder


@pytest.fixture(scope="session")
def tiny_run(tiny_data: Path, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One detector trained on the inner 56 of 64 px of both products; not to be changed."""
    from muad import train

    folder = tmp_path_factory.mktemp("multi_class") / "run"
    train(tiny_data, folder, recipe=tiny_recipe, overrides=["detector.resize_px=[64, 64]"], device="cpu")
    return folder


@pytest.fixture(scope="session")
def tiny_runs(tiny_data: Path, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One detector for each product; not to be changed."""
    from muad import train

    folder = tmp_path_factory.mktemp("per_category") / "run"
    train(tiny_data, folder, recipe=tiny_recipe, overrides=["training.mode=per_category"], device="cpu")
    return folder


class Made(NamedTuple):
    """A run, its bundle, what export said, and the bundle opened."""

    run: Path
    exported: Exported
    notes: list[str]
    bundle: Bundle


@pytest.fixture(scope="session")
def made(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The tiny run of two products as a bundle; not to be changed."""
    import shutil

    from muad.bundles.bundle import open_bundle
    from muad.bundling.export import export

    folder = tmp_path_factory.mktemp("exported")
    run, notes = folder / "run", list[str]()
    shutil.copytree(tiny_run, run)
    exported = export(run, folder / "tiny.muad", note=notes.append)
    return Made(run, exported, notes, open_bundle(exported.path))


class Viewed(NamedTuple):
    """Blisters photographed twice each, and a run and its bundle that judge them as parts."""

    data: Path
    run: Path
    bundle: Path


@pytest.fixture(scope="session")
def viewed(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Viewed:
    """Eight good blisters from two sides, a folder each, and limits of parts set on them; not to be changed."""
    import shutil

    from muad import calibrate
    from muad.toy_factory import render

    folder = tmp_path_factory.mktemp("viewed")
    for part in range(8):
        for number, view in enumerate(("left", "right")):
            file = folder / "data" / "pill_blister" / f"p{part:02d}" / f"{view}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels, _ = render("pill_blister", seed=5, index=2 * part + number, image_px=64)
            Image.fromarray(pixels).save(file)
    shutil.copytree(made.run, folder / "run")
    shutil.copyfile(made.exported.path, folder / "run.muad")
    for run in (folder / "run", folder / "run.muad"):
        calibrate(run, folder / "data", objects="folder", device="cpu")
    return Viewed(folder / "data", folder / "run", folder / "run.muad")


def patch_network(seed: int = 0) -> tuple[bytes, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]]:
    """A network of two convolutions over patches of 8 px as ONNX, and the same maps and scores in plain numpy."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from muad.runtime.heads import GridHead

    random = np.random.default_rng(seed)
    weights = {name: random.normal(size=(4, 3, 8, 8)).astype(np.float32) for name in ("encoded_0", "decoded_0")}
    weights["decoded_0"] += 0.6 * weights["encoded_0"]
    nodes, shape = [], numpy_helper.from_array(np.array([0, 4, 49], np.int64), "shape")
    for name in weights:
        nodes += [
            helper.make_node("Conv", ["images", f"w_{name}"], [f"c_{name}"], strides=[8, 8]),
            helper.make_node("Reshape", [f"c_{name}", "shape"], [f"r_{name}"]),
            helper.make_node("Transpose", [f"r_{name}"], [name], perm=[0, 2, 1]),
        ]
    graph = helper.make_graph(
        nodes,
        "patches",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3, 56, 56])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 49, 4]) for name in weights],
        [shape, *(numpy_helper.from_array(value, f"w_{name}") for name, value in weights.items())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    head = GridHead(grids=("distance",), input_px=(56, 56), map_px=32, top_fraction=0.02)

    def reference(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        patches = images.reshape(len(images), 3, 7, 8, 7, 8)
        first, second = (np.einsum("bchiwj,dcij->bhwd", patches, value) for value in weights.values())
        lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
        return head({"distance": 1 - (first * second).sum(axis=-1) / lengths})

    return model.SerializeToString(), reference


@pytest.fixture(scope="session")
def write_patch_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A bundle of a detector of patches, written without torch: `write_patch_bundle(path, per_category=True, …)`."""
    import json

    from safetensors.numpy import save

    from muad.bundles.manifest import Manifest
    from muad.bundles.writing import write_bundle
    from muad.images.preprocessing import Preprocessing

    def write(
        path: Path,
        *,
        per_category: bool = False,
        limits: bool = True,
        run: dict[str, bytes] | None = None,
        network: bytes | None = None,
    ) -> Path:
        mode, categories = "per_category" if per_category else "multi_class", {"bolt": 5, "cloth": 5}
        facts = {"format_version": 2, "mode": mode, "categories": categories, "finished": True, "map_scale": [0.1, 0.9]}
        config = "[detector]\nname = 'dinomaly'\nresize_px = [56, 56]\n[schedule]\ntotal_steps = 1\n"
        contents = {"run/run.json": json.dumps(facts).encode(), "run/config.toml": config.encode()}
        if limits:
            contents["run/limits.toml"] = b"[categories.bolt]\nreview = 0.5\nreject = 0.9\nmap = 0.8\n"
        contents |= {f"run/{name}": content for name, content in (run or {}).items()}
        preprocessing = Preprocessing(resize_px=(56, 56), crop_px=(56, 56))
        networks, golden = {}, []
        for place, key in enumerate(sorted(categories) if per_category else [""]):
            whole, reference = patch_network(place)
            name = f"networks/{place if per_category else 'all'}/network.onnx"
            contents[name] = whole if network is None else network
            pixels = np.random.default_rng(place).integers(0, 256, (2, 56, 56, 3), np.uint8)
            maps, scores = reference(preprocessing.normalise(pixels))
            sample = f"golden/{place}.safetensors"
            contents[sample] = save({"pixels": pixels, "maps": maps, "scores": scores.astype(np.float32)})
            golden.append({"member": sample, "network": key, "category": key or "bolt"})
            settings = {"grids": ["distance"], "input_px": [56, 56], "map_px": 32, "top_fraction": 0.02}
            networks[key] = {
                "input_px": [56, 56],
                "map_px": [32, 32],
                "batch": "dynamic",
                "files": {"network": {"fp32": [name]}},
                "outputs": ["encoded_0", "decoded_0"],
                "combine": {"kind": "cosine_distance", "outputs": 1, "grid": [7, 7], "name": "distance"},
                "head": {"kind": "GridHead", "settings": settings},
            }
        manifest = {
            "schema_version": 1,
            "muad": "0.0",
            "created": "2026-01-31T12:00:00+00:00",
            "detector": {"name": "dinomaly"},
            "mode": mode,
            "categories": categories,
            "preprocessing": {name: getattr(preprocessing, name) for name in ("resize_px", "crop_px", "mean", "std")},
            "map_scale": [0.1, 0.9],
            "weights": "0" * 32,
            "networks": networks,
            "golden": golden,
            "golden_limits": {"map": 1e-4, "score": 1e-4},
            "members": {name: {"sha256": "0" * 64, "bytes": 0} for name in contents},
        }
        from pydantic import TypeAdapter

        write_bundle(path, TypeAdapter(Manifest).validate_python(manifest), contents)
        return path

    return write


@pytest.fixture(scope="session")
def patch_bundle(write_patch_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One detector of patches for two products, as a bundle; not to be changed."""
    return write_patch_bundle(tmp_path_factory.mktemp("bundle") / "bolts.muad")


@pytest.fixture
def load_benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """A module of the benchmarks, which are scripts and not a package."""
    folder, before = str(Path(__file__).resolve().parents[1] / "benchmarks"), set(sys.modules)
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if folder in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
