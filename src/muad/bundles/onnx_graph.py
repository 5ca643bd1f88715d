"""A look at an ONNX file before any runtime sees it: it may name no file outside of itself.

An ONNX tensor can say that its numbers lie in another file, anywhere on the disk. Those of a bundle never do. The walk
follows the fields of onnx.proto3 that lead to tensors and steps over everything else, so large weights cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from muad.bundles.archive import BundleError

_Kind = Literal["model", "graph", "node", "attribute", "tensor", "sparse", "function", "training"]
_LEADING: dict[_Kind, dict[int, _Kind]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "tensor": {},
}
_EXTERNAL = {13, 14}  # TensorProto.external_data, data_location
_DEEPEST = 64
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def require_self_contained(network: bytes, name: str) -> None:
    """Refuse an ONNX file that names another file, or is none.

    Args:
        network: Its bytes.
        name: What to call it.

    Raises:
        BundleError: So it is.
    """
    levels: list[tuple[_Kind, memoryview]] = [("model", memoryview(network))]
    depths = [0]
    has_graph = False
    try:
        while levels:
            (kind, message), depth = levels.pop(), depths.pop()
            if depth > _DEEPEST:
                raise ValueError("graphs in graphs without end")
            for number, wire, value in _fields(message):
                if kind == "tensor" and number in _EXTERNAL and not (number == 14 and value == 0):
                    raise BundleError(f"{name} must hold its numbers itself, got a network that names another file.")
                below = _LEADING[kind].get(number)
                if below is not None and wire == _LENGTH and isinstance(value, memoryview):
                    has_graph = has_graph or below == "graph"
                    levels.append((below, value))
                    depths.append(depth + 1)
    except (ValueError, IndexError) as error:
        raise BundleError(f"{name} must be an ONNX file, got none ({error}). Export it again.") from None
    if not has_graph:
        raise BundleError(f"{name} must be an ONNX file, got one without a graph. Export it again.")


def _fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Number, wire type and value of each field of a message."""
    place, end = 0, len(message)
    while place < end:
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _varint(message, place)
            yield number, wire, value
            continue
        if wire == _LENGTH:
            length, place = _varint(message, place)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if length > end - place:
            raise ValueError("a field that ends beyond its message")
        yield number, wire, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number without end")
