"""Small data sets in every layout, written file by file."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


class Tree:
    """Writes images and masks of 6 x 8 pixels below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def images(self, folder: str, names: Iterable[str]) -> list[Path]:
        """Grey images, each of a brightness of its own."""
        paths = [self.root / folder / name for name in names]
        for number, path in enumerate(paths):
            self._save(path, np.full((6, 8, 3), 40 + number % 200, np.uint8))
        return paths

    def masks(self, folder: str, names: Iterable[str], value: int = 255) -> list[Path]:
        """Masks whose upper left corner is marked."""
        pixels = np.zeros((6, 8), np.uint8)
        pixels[:2, :3] = value
        paths = [self.root / folder / name for name in names]
        for path in paths:
            self._save(path, pixels)
        return paths

    def text(self, name: str, content: str) -> Path:
        """A text file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    def mvtec(self, category: str, *, suffix: str = ".png", mask_suffix: str = "_mask.png") -> None:
        """Three training images, two normal and three anomalous test images, each of those with a mask."""
        self.images(f"{category}/train/good", [f"{i:03}{suffix}" for i in range(3)])
        self.images(f"{category}/test/good", [f"{i:03}{suffix}" for i in range(2)])
        self.images(f"{category}/test/scratch", [f"{i:03}{suffix}" for i in range(2)])
        self.images(f"{category}/test/hole", [f"000{suffix}"])
        self.masks(f"{category}/ground_truth/scratch", [f"{i:03}{mask_suffix}" for i in range(2)])
        self.masks(f"{category}/ground_truth/hole", [f"000{mask_suffix}"])

    def visa(self, objects: Sequence[str] = ("candle", "pcb1")) -> None:
        """The raw release: two training, one normal and one anomalous test image an object, masks of class numbers."""
        rows = ["object,split,label,image,mask"]
        for name in objects:
            self.images(f"{name}/Data/Images/Normal", [f"{i:04}.JPG" for i in range(3)])
            self.images(f"{name}/Data/Images/Anomaly", ["000.JPG"])
            self.masks(f"{name}/Data/Masks/Anomaly", ["000.png"], value=3)
            rows += [f"{name},train,normal,{name}/Data/Images/Normal/{i:04}.JPG," for i in range(2)]
            rows += [f"{name},test,normal,{name}/Data/Images/Normal/0002.JPG,"]
            rows += [f"{name},test,anomaly,{name}/Data/Images/Anomaly/000.JPG,{name}/Data/Masks/Anomaly/000.png"]
        self.text("split_csv/1cls.csv", "\n".join(rows) + "\n")

    def real_iad(self, category: str = "audiojack") -> None:
        """One training object in five views, and one test object whose first view shows a defect."""
        good = [f"OK/S0001/{category}_0001_OK_C{view}_2023.jpg" for view in range(1, 6)]
        bad = [f"NG/QS/S0002/{category}_0002_NG_QS_C{view}_2023.jpg" for view in range(1, 6)]
        mask = f"NG/QS/S0002/{category}_0002_NG_QS_C1_2023_mask.png"
        self.images(f"realiad_1024/{category}", good + bad)
        self.masks(f"realiad_1024/{category}", [mask])
        content = {
            "meta": {"normal_class": "OK"},
            "train": [{"image_path": path, "anomaly_class": "OK", "mask_path": None} for path in good],
            "test": [{"image_path": bad[0], "anomaly_class": "QS", "mask_path": mask}]
            + [{"image_path": path, "anomaly_class": "OK", "mask_path": None} for path in bad[1:]],
        }
        self.text(f"realiad_jsons/realiad_jsons/{category}.json", json.dumps(content))

    def dagm(self, category: str = "Class1") -> None:
        """Three training images, one of them defective, and three test images, two of them defective."""
        self.images(f"{category}/Train", ["0001.PNG", "0002.PNG", "0003.PNG"])
        self.masks(f"{category}/Train/Label", ["0002_label.PNG"])
        self.images(f"{category}/Test", ["0001.PNG", "0002.PNG", "0003.PNG"])
        self.masks(f"{category}/Test/Label", ["0001_label.PNG", "0003_label.PNG"])
        self.text(f"{category}/Train/Label/Labels.txt", "1\n")

    @staticmethod
    def _save(path: Path, pixels: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "data")
