"""Photographs of two products and a job's settings."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fsspec", reason="muad[scale] is not installed")
pytest.importorskip("pyarrow", reason="muad[scale] is not installed")


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 photographs in folders of two products, two more of unknown ones, and two files that are none."""
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(5)
    for number in range(24):
        file = folder / ("bolt", "cloth", "bolt/late")[number % 3] / f"{number:03d}.png"
        if number >= 22:
            file = folder / "other" / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (60, 64, 3), np.uint8)).save(file)
    (folder / "bolt" / "text.png").write_text("no image", encoding="utf-8")
    (folder / "cloth" / "empty.jpg").write_bytes(b"")
    return folder
