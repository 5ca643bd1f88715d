"""Opening a bundle: nothing in it is believed."""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from muad.bundles.archive import BundleError
from muad.bundles.bundle import open_bundle
from muad.bundles.manifest import SCHEMA_VERSION
from muad.errors import CheckpointError, MuadError


def rewrite(source: Path, target: Path, change: Callable[[dict[str, bytes]], None], **how: int) -> Path:
    """The members of a bundle written again by plain zipfile, changed."""
    with zipfile.ZipFile(source) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    change(contents)
    with zipfile.ZipFile(target, "w", how.get("compression", zipfile.ZIP_STORED)) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return target


def change_manifest(contents: dict[str, bytes], **values: object) -> None:
    contents["manifest.json"] = json.dumps(json.loads(contents["manifest.json"]) | values).encode()


def test_a_bundle_opens_with_its_small_files_laid_out_as_a_run_folder(patch_bundle: Path) -> None:
    bundle = open_bundle(patch_bundle)
    assert set(bundle.manifest.categories) == {"bolt", "cloth"}
    assert {file.name for file in bundle.folder.iterdir()} == {"run.json", "config.toml", "limits.toml"}
    assert bundle.read("networks/all/network.onnx")
    folder = bundle.folder
    bundle.close()
    assert not folder.exists()


def test_the_same_content_gives_the_same_bytes(write_patch_bundle: Callable[..., Path], tmp_path: Path) -> None:
    first, second = write_patch_bundle(tmp_path / "a.muad"), write_patch_bundle(tmp_path / "b.muad")
    assert first.read_bytes() == second.read_bytes()


def test_every_truncation_and_every_flipped_byte_is_refused_or_changes_nothing(
    patch_bundle: Path, tmp_path: Path
) -> None:
    whole = patch_bundle.read_bytes()
    broken = tmp_path / "broken.muad"
    before = open_bundle(patch_bundle).manifest
    for length in range(0, len(whole), 1501):
        broken.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            open_bundle(broken)
    messages = []
    for place in range(0, len(whole), 401):
        broken.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            assert open_bundle(broken).manifest == before
        except MuadError as error:
            messages.append(str(error))
    assert len(messages) > 0.9 * len(range(0, len(whole), 401))
    assert all("\n" not in message for message in messages)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil.txt", "name of its own"),
        ("/etc/evil", "name of its own"),
        ("run/../../evil", "name of its own"),
        ("run/..\\evil", "name of its own"),
        ("run/c:evil", "name of its own"),
        ("run/NUL.txt", "name of its own"),
        ("run/more.toml", "only what its manifest names"),
        ("RUN.json", "name of its own"),
    ],
)
def test_a_member_that_does_not_belong_is_refused(patch_bundle: Path, tmp_path: Path, name: str, said: str) -> None:
    hostile = rewrite(patch_bundle, tmp_path / "hostile.muad", lambda contents: contents.update({name: b"x"}))
    with pytest.raises(BundleError, match=said):
        open_bundle(hostile)
    assert [file.name for file in tmp_path.iterdir()] == ["hostile.muad"]


def test_packed_members_are_refused(patch_bundle: Path, tmp_path: Path) -> None:
    packed = rewrite(patch_bundle, tmp_path / "packed.muad", lambda _: None, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleError, match="must be stored as it is"):
        open_bundle(packed)


def test_a_missing_member_a_changed_one_and_another_size_are_named(patch_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "bundle.muad"
    with pytest.raises(BundleError, match=r"must hold networks/all/network\.onnx"):
        open_bundle(rewrite(patch_bundle, file, lambda contents: contents.pop("networks/all/network.onnx")))
    with pytest.raises(BundleError, match=r"limits.toml must be \d+ bytes"):
        open_bundle(rewrite(patch_bundle, file, lambda contents: contents.update({"run/limits.toml": b""})))
    with pytest.raises(BundleError, match="must be as it was written"):
        open_bundle(
            rewrite(
                patch_bundle,
                file,
                lambda contents: contents.update({"run/limits.toml": contents["run/limits.toml"].replace(b"5", b"6")}),
            )
        )


def test_a_newer_bundle_says_which_release_wrote_it(patch_bundle: Path, tmp_path: Path) -> None:
    newer = rewrite(
        patch_bundle,
        tmp_path / "newer.muad",
        lambda contents: change_manifest(contents, schema_version=SCHEMA_VERSION + 1, muad="9.9", networks=3),
    )
    with pytest.raises(BundleError, match=r"schema version 1, got 2 in .*wrote it \(9\.9\)"):
        open_bundle(newer)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"schema_version": "one"}, "schema_version"),
        ({"schema_version": True}, "schema_version"),
        ({"networks": {}}, "networks must be those of multi_class"),
        ({"mode": "per_category"}, "networks must be those of per_category"),
        ({"categories": {"bolt": 5}}, "mode and categories"),
        ({"golden": [{"member": "golden/7.safetensors", "network": ""}]}, "members must hold golden/7"),
        ({"preprocessing": {"resize_px": [56, 56]}}, "preprocessing.crop_px"),
        ({"created": 3}, "created"),
    ],
)
def test_a_manifest_that_says_what_it_must_not_is_one_line(
    patch_bundle: Path, tmp_path: Path, values: dict[str, object], said: str
) -> None:
    file = rewrite(patch_bundle, tmp_path / "b.muad", lambda contents: change_manifest(contents, **values))
    with pytest.raises(CheckpointError, match=said) as caught:
        open_bundle(file)
    assert "\n" not in str(caught.value)


def test_what_is_no_bundle_is_refused(tmp_path: Path, patch_bundle: Path) -> None:
    for name, content in (("empty", b""), ("text", b"photographs\n" * 99), ("zip", b"PK\x05\x06" + bytes(18))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BundleError, match="bundle must be"):
            open_bundle(tmp_path / name)
    with pytest.raises(BundleError, match="bundle must be a file"):
        open_bundle(tmp_path)
    with pytest.raises(BundleError, match="must be a readable file"):
        open_bundle(tmp_path / "none.muad")


def test_a_directory_of_a_million_members_is_refused_before_it_is_read(patch_bundle: Path, tmp_path: Path) -> None:
    whole = patch_bundle.read_bytes()
    end = bytearray(whole[-22:])
    struct.pack_into("<L", end, 12, 2**27)
    (tmp_path / "large.muad").write_bytes(whole[:-22] + bytes(end))
    with pytest.raises(BundleError, match="at most 10000 members"):
        open_bundle(tmp_path / "large.muad")


def test_limits_are_taken_over_from_a_bundle_that_was_written_anew(
    write_patch_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_patch_bundle(tmp_path / "b.muad")
    bundle = open_bundle(file)
    write_patch_bundle(tmp_path / "new.muad", limits=False, run={"limits.toml": b"# other\n"}).replace(file)
    bundle.renew(["limits.toml"])
    assert (bundle.folder / "limits.toml").read_bytes() == b"# other\n"


def test_a_bundle_at_work_does_not_take_over_other_networks(
    write_patch_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_patch_bundle(tmp_path / "b.muad")
    bundle = open_bundle(file)
    before = (bundle.folder / "limits.toml").read_bytes()
    write_patch_bundle(tmp_path / "new.muad", per_category=True, limits=False).replace(file)
    with pytest.raises(BundleError, match="networks it was opened with"):
        bundle.renew(["limits.toml"])
    assert (bundle.folder / "limits.toml").read_bytes() == before
    bundle.renew(["limits.toml"])  # told once
    shutil.copy(tmp_path / "b.muad", tmp_path / "c.muad")
