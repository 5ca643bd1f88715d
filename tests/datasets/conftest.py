"""Small data sets in every layout, written file by file."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
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

    def mvtec_loco(self, category: str = "pushpins") -> None:
        """Normal images of three splits; a logical anomaly of two defects and a structural one of one."""
        self.images(f"{category}/train/good", ["000.png", "001.png"])
        self.images(f"{category}/validation/good", ["000.png"])
        for kind in ("good", "logical_anomalies", "structural_anomalies"):
            self.images(f"{category}/test/{kind}", ["000.png"])
        self.masks(f"{category}/ground_truth/logical_anomalies/000", ["000.png", "001.png"], value=255)
        self.masks(f"{category}/ground_truth/structural_anomalies/000", ["000.png"], value=240)
        kinds = [("missing", 255, 4, False), ("broken", 240, 0.5, True)]
        names = ("defect_name", "pixel_value", "saturation_threshold", "relative_saturation")
        self.text(
            f"{category}/defects_config.json", json.dumps([dict(zip(names, kind, strict=True)) for kind in kinds])
        )

    def mvtec_ad_2(self, category: str = "can") -> None:
        """Two lights of everything; a public test image of each label and what the authors keep to themselves."""
        self.images(f"{category}/train/good", ["000_regular.png", "001_overexposed.png"])
        self.images(f"{category}/validation/good", ["000_regular.png"])
        self.images(f"{category}/test_public/good", ["000_regular.png", "000_shift_1.png"])
        self.images(f"{category}/test_public/bad", ["000_regular.png", "000_underexposed.png"])
        truth = ["000_regular_mask.png", "000_underexposed_mask.png"]
        self.masks(f"{category}/test_public/ground_truth/bad", truth)
        self.images(f"{category}/test_private", ["000_regular.png"])
        self.images(f"{category}/test_private_mixed", ["000_mixed.png", "001_mixed.png"])

    def mvtec_3d(self, category: str = "bagel", depth: str = "xyz") -> None:
        """Colour and depth of three splits, and a defective part with its mask beside them."""
        for folder in ("train/good", "validation/good", "test/good", "test/hole"):
            self.images(f"{category}/{folder}/rgb", ["000.png", "001.png"])
            self.points(f"{category}/{folder}/{depth}", ["000.tiff", "001.tiff"])
        self.masks(f"{category}/test/hole/gt", ["000.png", "001.png"])
        self.masks(f"{category}/test/good/gt", ["000.png", "001.png"], value=0)

    def points(self, folder: str, names: Iterable[str]) -> None:
        """Organised point clouds."""
        for name in names:
            path = self.root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.random.default_rng(len(name)).random((6, 8, 3), np.float32))

    def mulsen_ad(self, category: str = "capsule") -> None:
        """Three defective parts: seen in colour, in infrared, and in the point cloud alone."""
        for sense in ("RGB", "Infrared"):
            self.images(f"{category}/{sense}/train", ["0.png", "1.png"])
            self.images(f"{category}/{sense}/test/good", ["0.png"])
            self.images(f"{category}/{sense}/test/hole", ["0.png", "1.png", "2.png"])
        self.masks(f"{category}/RGB/GT/hole", ["0.png"])
        self.masks(f"{category}/Infrared/GT/hole", ["1.png"])
        self.text(f"{category}/Pointcloud/train/0.stl", "solid")
        self.text(f"{category}/RGB/GT/hole/data.csv", "object,RGB,Infrared,Pointcloud\n0,1,0,0\n1,0,1,1\n2,0,0,1\n")

    def eyecandies(self, category: str = "GummyBear") -> None:
        """Two public test images, the second anomalous, in six lights with depth."""
        for split, count in (("train", 2), ("val", 1), ("test_public", 2), ("test_private", 1)):
            for part in range(count):
                names = [f"{part:03}_image_{light}.png" for light in range(6)]
                self.images(f"{category}/{split}/data", [*names, f"{part:03}_normals.png"])
                self.masks(f"{category}/{split}/data", [f"{part:03}_depth.png"], value=9)
                if split == "test_public":
                    self.masks(f"{category}/{split}/data", [f"{part:03}_mask.png"], value=part)

    def kolektor_sdd2(self) -> None:
        """Three training and two test images with a mask each; the second of both is defective."""
        for split, count in (("train", 3), ("test", 2)):
            self.images(split, [f"{10000 + part}.png" for part in range(count)])
            for part in range(count):
                self.masks(split, [f"{10000 + part}_GT.png"], value=255 if part == 1 else 0)

    @staticmethod
    def _save(path: Path, pixels: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "data")
