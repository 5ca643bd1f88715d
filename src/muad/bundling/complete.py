"""`complete.onnx`: uint8 RGB of the network's size in, anomaly map and score out, for any ONNX runtime.

Normalisation is put before a network's graph, what `muad.runtime.heads` computes behind it: the same matrices, one for
each axis of a map, and the mean of the largest values. Nodes are written by hand, so that the numbers of the network
are those of `network.onnx`, and no tracer has to understand the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from muad.bundles.manifest import CombineFacts
from muad.bundling.networks import IMAGES, ExportedNetwork
from muad.errors import ConfigError
from muad.runtime.heads import GridHead

if TYPE_CHECKING:
    import onnx

    from muad.images.preprocessing import Preprocessing
    from muad.runtime.heads import Head

PIXELS, MAP, SCORE = "pixels", "map", "score"
_INNER = "network/"  # begins all names of the network's own graph, so that none is also one of ours
_LEAST_NORM = 1e-8


def complete_graph(network: ExportedNetwork, head: Head, preprocessing: Preprocessing) -> onnx.ModelProto:
    """The whole way from views to maps and scores as one graph.

    Args:
        network: In float32.
        head: The detector's.
        preprocessing: The detector's.

    Raises:
        ConfigError: The head has no form in ONNX.
    """
    from onnx import TensorProto, compose, helper

    if not isinstance(head, GridHead):
        raise ConfigError(f"map_head must be a GridHead for a complete network, got {type(head).__name__}.")
    inner = compose.add_prefix(network.graph, _INNER, rename_functions=False)
    batch = "batch" if network.takes_any_number else 1

    nodes = _Nodes()
    _normalise(nodes, preprocessing, f"{_INNER}{IMAGES}")
    before = nodes.taken()
    tensors = {name: f"{_INNER}{name}" for name in network.outputs}
    if network.combine is not None:
        tensors[network.combine.name] = _combine(nodes, tensors, network.combine)
    size = _map_and_score(nodes, head, tensors, _shapes(network))

    made = helper.make_graph(
        [*before, *inner.graph.node, *nodes.taken()],
        "complete",
        [helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, [batch, *network.input_px, 3])],
        [
            helper.make_tensor_value_info(MAP, TensorProto.FLOAT, [batch, *size]),
            helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, [batch]),
        ],
        [*inner.graph.initializer, *nodes.constants],
    )
    model = helper.make_model(
        made, opset_imports=list(inner.opset_import), functions=list(inner.functions), producer_name="muad"
    )
    model.ir_version = inner.ir_version
    return model


def map_size(network: ExportedNetwork, head: GridHead) -> tuple[int, int]:
    """Height and width of the maps."""
    height, width, *_ = _shapes(network)[head.grids[0]]
    rows, columns = head.matrices((height, width))
    return len(rows), len(columns)


class _Nodes:
    """Nodes in the order of computation, and the constants they read."""

    def __init__(self) -> None:
        self.constants: list[onnx.TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._count = 0

    def add(self, kind: str, *inputs: str, named: str | None = None, **attributes: int | Sequence[int]) -> str:
        """A node with one output; its name, or the one that is given."""
        from onnx import helper

        name = named or self._new(kind)
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def add_top(self, values: str, count: int) -> str:
        """The largest values along the second axis."""
        from onnx import helper

        name, places = self._new("TopK"), self._new("TopKPlaces")
        inputs = [values, self.constant(np.array([count], np.int64))]
        self._nodes.append(helper.make_node("TopK", inputs, [name, places], axis=1, largest=1, sorted=0))
        return name

    def constant(self, values: np.ndarray) -> str:
        """The name of a constant."""
        from onnx import numpy_helper

        name = self._new("constant")
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def integers(self, *values: int) -> str:
        """A constant of whole numbers."""
        return self.constant(np.array(values, np.int64))

    def taken(self) -> list[onnx.NodeProto]:
        """The nodes so far, which are then no longer kept."""
        taken, self._nodes = self._nodes, []
        return taken

    def _new(self, kind: str) -> str:
        self._count += 1
        return f"muad/{kind}_{self._count}"


def _normalise(nodes: _Nodes, preprocessing: Preprocessing, images: str) -> None:
    """`Preprocessing.normalise`, operation by operation."""
    from onnx import TensorProto

    upright = nodes.add("Transpose", PIXELS, perm=[0, 3, 1, 2])
    values = nodes.add("Cast", upright, to=int(TensorProto.FLOAT))
    mean, std = (np.array(value, np.float32)[:, None, None] for value in (preprocessing.mean, preprocessing.std))
    values = nodes.add("Div", values, nodes.constant(np.array(255, np.float32)))
    values = nodes.add("Sub", values, nodes.constant(mean))
    nodes.add("Div", values, nodes.constant(std), named=images)


def _combine(nodes: _Nodes, tensors: Mapping[str, str], combine: CombineFacts) -> str:
    """The mean cosine distance of pairs of features, as a grid."""
    last, least = nodes.integers(-1), nodes.constant(np.array(_LEAST_NORM, np.float32))
    total = None
    for pair in range(combine.outputs):
        sides = tensors[f"encoded_{pair}"], tensors[f"decoded_{pair}"]
        products = nodes.add("ReduceSum", nodes.add("Mul", *sides), last, keepdims=0)
        lengths = [nodes.add("Max", nodes.add("ReduceL2", side, last, keepdims=0), least) for side in sides]
        cosine = nodes.add("Div", products, nodes.add("Mul", *lengths))
        distance = nodes.add("Sub", nodes.constant(np.array(1, np.float32)), cosine)
        total = distance if total is None else nodes.add("Add", total, distance)
    if total is None:
        raise ConfigError("combine.outputs must be at least 1, got 0.")
    mean = nodes.add("Div", total, nodes.constant(np.array(combine.outputs, np.float32)))
    return nodes.add("Reshape", mean, nodes.integers(-1, *combine.grid))


def _map_and_score(
    nodes: _Nodes, head: GridHead, tensors: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[int, int]:
    """`GridHead`, its map and score under their names; returns the size of the map."""
    weights = head.weights or (1.0,) * len(head.grids)
    size, total, grids = (0, 0), None, []
    for place, (name, weight) in enumerate(zip(head.grids, weights, strict=True)):
        grid = tensors[name]
        if weight != 1:
            grid = nodes.add("Mul", grid, nodes.constant(np.array(weight, np.float32)))
        grids.append(grid)
        rows, columns = head.matrices((shapes[name][0], shapes[name][1]))
        size = (len(rows), len(columns))
        high = nodes.add("MatMul", nodes.constant(rows), grid)
        is_map = place + 1 == len(head.grids) and total is None
        wide = nodes.add("MatMul", high, nodes.constant(columns.T), named=MAP if is_map else None)
        if total is not None:
            wide = nodes.add("Add", total, wide, named=MAP if place + 1 == len(head.grids) else None)
        total = wide
    if head.score_tensor:
        nodes.add("Reshape", tensors[head.score_tensor], nodes.integers(-1), named=SCORE)
        return size
    values, cells = MAP, size
    if head.pool_px:
        window = [min(head.pool_px, pixels) for pixels in size]
        pooled = nodes.add("Unsqueeze", MAP, nodes.integers(1))
        pooled = nodes.add("AveragePool", pooled, kernel_shape=window, strides=[1, 1])
        values = nodes.add("Squeeze", pooled, nodes.integers(1))
        cells = (size[0] - window[0] + 1, size[1] - window[1] + 1)
    elif head.score_grid:
        values, (height, width) = grids[0], shapes[head.grids[0]]
        cells = (height, width)
    flat = nodes.add("Reshape", values, nodes.integers(-1, cells[0] * cells[1]))
    largest = nodes.add_top(flat, head.counted(cells[0] * cells[1]))
    nodes.add("ReduceMean", largest, nodes.integers(1), named=SCORE, keepdims=0)
    return size


def _shapes(network: ExportedNetwork) -> dict[str, tuple[int, ...]]:
    """Of what the head may read, without the number of images."""
    found = {
        value.name: tuple(int(dim.dim_value) for dim in value.type.tensor_type.shape.dim[1:])
        for value in network.graph.graph.output
    }
    return found if network.combine is None else {**found, network.combine.name: network.combine.grid}
