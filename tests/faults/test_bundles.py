"""Hostile and spoiled bundles, to every verb that takes one: one line, exit code 2, nothing written."""

import json
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Contents = dict[str, bytes]
NETWORK = "networks/all/network.onnx"


def written(path: Path, contents: Contents) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def sealed(contents: Contents, **changes: object) -> Contents:
    """The same with a manifest that names everything as it now is: an enemy can compute digests too."""
    manifest = json.loads(contents["manifest.json"]) | changes
    manifest["members"] = {
        name: {"sha256": sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in contents.items()
        if name != "manifest.json"
    }
    return {**contents, "manifest.json": json.dumps(manifest).encode()}


def onnx(*outputs: str, external: bool = False, size: int = 4) -> bytes:
    """A network of one constant, by its own bytes or by those of a file elsewhere."""
    from onnx import TensorProto, helper

    tensor = helper.make_tensor("c", TensorProto.FLOAT, [size], [0.0] * min(size, 4)) if size == 4 else None
    tensor = tensor or helper.make_tensor("c", TensorProto.INT64, [4], [1, size, size, size])
    if external:
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "../../../../etc/passwd"), ("offset", "0"), ("length", "16")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
    kind = "ConstantOfShape" if size != 4 else "Identity"
    nodes = [helper.make_node(kind, ["c"], [name]) for name in outputs]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 56, 56])
    graph = helper.make_graph(nodes, "g", [images], values, [tensor])
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


def changed(contents: Contents, change: Callable[[dict], None]) -> Contents:
    manifest = json.loads(contents["manifest.json"])
    change(manifest)
    return {**contents, "manifest.json": json.dumps(manifest).encode()}


def network_of(manifest: dict) -> dict:
    return manifest["networks"][""]


# What is wrong: how the members become hostile, and words of the line.
SPOILED: dict[str, tuple[Callable[[Contents], Contents], str]] = {
    "a newer schema": (lambda c: sealed(c, schema_version=2), "schema version 1"),
    "no manifest": (lambda c: {n: b for n, b in c.items() if n != "manifest.json"}, "manifest.json"),
    "a manifest of nesting without end": (lambda c: {**c, "manifest.json": b"[" * 200_000}, "must be JSON"),
    "a manifest of NaN": (lambda c: {**c, "manifest.json": b'{"schema_version": NaN}'}, "must be JSON"),
    "no network": (lambda c: sealed({n: b for n, b in c.items() if n != NETWORK}), NETWORK),
    "a path outside": (lambda c: sealed({**c, "run/../../../tmp/evil": b"x"}), "name of its own"),
    "an absolute path": (lambda c: sealed({**c, "/tmp/evil": b"x"}), "name of its own"),
    "a stranger": (lambda c: {**c, "run/evil.toml": b"x"}, "only what its manifest names"),
    "a name of two cases": (lambda c: sealed({**c, "run/RUN.json": c["run/run.json"]}), "once"),
    "other numbers elsewhere": (
        lambda c: sealed({**c, NETWORK: onnx("encoded_0", "decoded_0", external=True)}),
        "names another file",
    ),
    "a network of text": (lambda c: sealed({**c, NETWORK: b"photographs" * 99}), "must be"),
    "an empty network": (lambda c: sealed({**c, NETWORK: b""}), "must be"),
    "a head of no release": (
        lambda c: changed(c, lambda m: network_of(m)["head"].update(kind="__import__")),
        "head must be one",
    ),
    "a map of 2 million pixels a side": (
        lambda c: changed(c, lambda m: network_of(m)["head"]["settings"].update(map_px=2**21)),
        "at most",
    ),
    "an input of 2 million pixels a side": (
        lambda c: changed(c, lambda m: network_of(m).update(input_px=[2**21, 2**21])),
        "input_px",
    ),
    "a crop of which no photograph has a pixel": (
        lambda c: changed(c, lambda m: m["preprocessing"].update(resize_px=[16384, 16384])),
        "crop_px must keep at least one in",
    ),
    "a part that is no member": (
        lambda c: changed(c, lambda m: network_of(m)["files"]["network"].update(fp32=["run/../x.onnx"])),
        "members must hold",
    ),
    "a run of another mode": (
        lambda c: sealed({**c, "run/run.json": c["run/run.json"].replace(b"multi_class", b"per_category")}),
        "mode",
    ),
    "limits that are no numbers": (
        lambda c: sealed({**c, "run/limits.toml": b"[categories.bolt]\nreject = 'many'\n"}),
        "limits.toml",
    ),
}
# A network that is not what its manifest says: found when it is computed.
LYING: dict[str, tuple[Callable[[Contents], Contents], str]] = {
    "too few outputs": (lambda c: sealed({**c, NETWORK: onnx("encoded_0")}), "network must"),
    "outputs of other shapes": (lambda c: sealed({**c, NETWORK: onnx("encoded_0", "decoded_0")}), "must"),
    "a shape of a billion numbers": (
        lambda c: sealed({**c, NETWORK: onnx("encoded_0", "decoded_0", size=2**20)}),
        "must",
    ),
}


@pytest.fixture
def contents(patch_bundle: Path) -> Contents:
    with zipfile.ZipFile(patch_bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs/bolt"
    folder.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(folder / "0.png")
    return folder.parent


def leftovers(tmp_path: Path) -> list[str]:
    """Files that no fixture made."""
    known = {"hostile.muad", "0.png"}
    return [
        str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file() and file.name not in known
    ]


@pytest.mark.parametrize("case", SPOILED)
def test_a_spoiled_bundle_is_one_line(
    refused: Callable[..., str], contents: Contents, photographs: Path, tmp_path: Path, case: str
) -> None:
    spoil, words = SPOILED[case]
    hostile = written(tmp_path / "hostile.muad", spoil(contents))
    before = hostile.read_bytes()
    line = refused("predict", hostile, photographs, "--out", tmp_path / "out", "--backend", "onnx")
    assert words in line, line
    assert len(line) < 600
    assert hostile.read_bytes() == before
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("case", LYING)
def test_a_network_that_lies_judges_no_photograph(
    refused: Callable[..., str], contents: Contents, photographs: Path, tmp_path: Path, case: str
) -> None:
    spoil, words = LYING[case]
    hostile = written(tmp_path / "hostile.muad", spoil(contents))
    line = refused("predict", hostile, photographs, "--out", tmp_path / "out", "--backend", "onnx")
    assert words in line, line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["calibrate", "limits", "report", "evaluate", "check-bundle"])
def test_every_verb_refuses_it(
    refused: Callable[..., str], contents: Contents, photographs: Path, tmp_path: Path, verb: str
) -> None:
    hostile = written(tmp_path / "hostile.muad", {**contents, "run/limits.toml": b"[categories.bolt]\nreject = 0.8\n"})
    before = hostile.read_bytes()
    more = (photographs,) if verb in ("calibrate", "evaluate") else ()
    assert "limits.toml must be" in refused(verb, hostile, *more)
    assert hostile.read_bytes() == before
    assert leftovers(tmp_path) == []


def test_a_bundle_cut_anywhere_is_one_line(refused: Callable[..., str], patch_bundle: Path, tmp_path: Path) -> None:
    whole, hostile = patch_bundle.read_bytes(), tmp_path / "hostile.muad"
    for length in (0, 1, 21, 22, 100, len(whole) // 2, len(whole) - 23, len(whole) - 1):
        hostile.write_bytes(whole[:length])
        assert "bundle must be" in refused("limits", hostile)
    assert leftovers(tmp_path) == []


def test_a_bit_flipped_in_any_member_is_one_line(
    refused: Callable[..., str], patch_bundle: Path, tmp_path: Path
) -> None:
    hostile = tmp_path / "hostile.muad"
    with zipfile.ZipFile(patch_bundle) as archive:
        members = [entry for entry in archive.infolist() if entry.file_size]
    for entry in members:
        spoiled = bytearray(patch_bundle.read_bytes())
        header = entry.header_offset
        name, extra = struct.unpack_from("<2H", spoiled, header + 26)
        spoiled[header + 30 + name + extra + entry.file_size // 2] ^= 4
        hostile.write_bytes(spoiled)
        assert str(hostile) in refused("limits", hostile)
    assert leftovers(tmp_path) == []


def test_a_bomb_twins_and_links_are_refused_before_they_are_read(
    refused: Callable[..., str], contents: Contents, tmp_path: Path
) -> None:
    hostile = tmp_path / "hostile.muad"
    with zipfile.ZipFile(hostile, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", bytes(2**26))
    assert "packed" in refused("limits", hostile)
    with zipfile.ZipFile(hostile, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("run/run.json", b"{}")
    assert "once" in refused("limits", hostile)
    written(hostile, contents)
    claimed = bytearray(hostile.read_bytes())  # a member that says it has four gigabytes
    place = claimed.find(b"PK\x01\x02")
    claimed[place + 20 : place + 28] = struct.pack("<2L", 2**32 - 2, 2**32 - 2)
    hostile.write_bytes(claimed)
    refused("limits", hostile)
    link = zipfile.ZipInfo("run/limits.toml")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    linked = sealed({**contents, "run/limits.toml": b"/etc/passwd"})
    with zipfile.ZipFile(hostile, "w") as archive:
        for name, content in linked.items():
            archive.writestr(link if name == "run/limits.toml" else name, content)
    line = refused("limits", hostile)  # a text that is no TOML: nothing is linked, nothing of that file is read
    assert "root:" not in line
    assert leftovers(tmp_path) == []


def test_a_link_to_a_bundle_and_other_files_are_what_they_are(
    refused: Callable[..., str], photographs: Path, tmp_path: Path
) -> None:
    shutil.make_archive(str(tmp_path / "foreign"), "zip", photographs)
    (tmp_path / "foreign.zip").rename(tmp_path / "hostile.muad")
    assert "must" in refused("limits", tmp_path / "hostile.muad")
    assert "must" in refused("limits", tmp_path / "photographs/bolt/0.png")
    assert leftovers(tmp_path) == []
