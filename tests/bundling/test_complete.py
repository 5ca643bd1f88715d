"""`complete.onnx` against the head in numpy, for every form of score; networks of one node, no torch."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from muad.bundles.manifest import HeadFacts
from muad.bundling.complete import complete_graph, map_size
from muad.bundling.networks import ExportedNetwork
from muad.images.preprocessing import Preprocessing
from muad.runtime.heads import GridHead

GRID = (4, 6)
PREPROCESSING = Preprocessing(resize_px=GRID, crop_px=GRID)


def network(any_number: bool = True) -> ExportedNetwork:
    """Gives two grids, of all pixels and of every second, and a score; its outputs have names that we use too."""
    batch = "batch" if any_number else 1
    value = lambda name, *sizes: helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *sizes])  # noqa: E731
    nodes = [
        helper.make_node("ReduceMean", ["images", "axis"], ["map"], keepdims=0),
        helper.make_node("Slice", ["map", "first", "last", "axes", "steps"], ["coarse"]),
        helper.make_node("ReduceMax", ["map", "axes"], ["score"], keepdims=0),
    ]
    numbers = {"axis": [1], "first": [0, 0], "last": [9, 9], "axes": [1, 2], "steps": [2, 2]}
    constants = [helper.make_tensor(name, TensorProto.INT64, [len(own)], own) for name, own in numbers.items()]
    outputs = [value("map", *GRID), value("coarse", 2, 3), value("score")]
    graph = helper.make_graph(nodes, "tiny", [value("images", 3, *GRID)], outputs, constants)
    return ExportedNetwork(
        graph=helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        outputs=("map", "coarse", "score"),
        combine=None,
        head=HeadFacts(kind="GridHead"),
        input_px=GRID,
        takes_any_number=any_number,
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"top_fraction": 0.2},
        {"top_pixels": 3, "map_px": 5, "align_corners": True},
        {"weights": (0.5, 2.0), "blur_sigma_px": 1.0},
        {"blur_sigma_px": 1.5, "blur": "reflected", "pool_px": 3},
        {"score_tensor": "score"},
        {"grids": ("coarse",), "score_grid": (2, 3), "weights": (0.25,)},
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("any_number", [True, False])
def test_map_and_score_are_those_of_the_head(settings: dict, any_number: bool) -> None:
    head = GridHead(**{"grids": ("map", "coarse"), "input_px": GRID, **settings})
    made = network(any_number)
    model = complete_graph(made, head, PREPROCESSING)
    onnx.checker.check_model(model, full_check=True)
    pixels = np.random.default_rng(1).integers(0, 256, (3 if any_number else 1, *GRID, 3), np.uint8)
    maps, scores = onnxruntime.InferenceSession(model.SerializeToString()).run(["map", "score"], {"pixels": pixels})
    grid = PREPROCESSING.normalise(pixels).mean(axis=1)
    expected = head({"map": grid, "coarse": grid[:, ::2, ::2], "score": grid.max(axis=(1, 2))})
    np.testing.assert_allclose(maps, expected[0], atol=2e-6)
    np.testing.assert_allclose(scores, expected[1], atol=2e-6)
    assert maps.shape[1:] == map_size(made, head)
