"""One tiny run exported once; all look at that."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from muad.bundles.bundle import Bundle, open_bundle
from muad.bundling.export import Exported, export


class Made(NamedTuple):
    """A run, its bundle, what export said, and the bundle opened."""

    run: Path
    exported: Exported
    notes: list[str]
    bundle: Bundle


@pytest.fixture(scope="session")
def made(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The tiny run of two products as a bundle; not to be changed."""
    folder = tmp_path_factory.mktemp("exported")
    run, notes = folder / "run", list[str]()
    shutil.copytree(tiny_run, run)
    exported = export(run, folder / "tiny.muad", note=notes.append)
    return Made(run, exported, notes, open_bundle(exported.path))
