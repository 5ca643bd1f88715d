"""A network with a part that runs again and again as one ONNX graph with a loop, which holds that part once.

Its three parts are traced each by itself, in the time and size of one turn instead of all. The loop reads what tells
its turns apart from a table of its own; what every turn reads of the images stays outside and is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from muad.bundling.tracing import make_plain, takes_any_number, write_graph

if TYPE_CHECKING:
    import onnx
    from torch import Tensor

    from muad.nn.repeated import Repeated

_STATE, _KEPT, _NUMBERS, _NEXT = "turn_state", "turn_kept", "turn_numbers", "turn_next"
_BEGUN, _ENDED = "begun", "ended"


class _Begin(nn.Module):
    def __init__(self, network: Repeated) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.network.begin(images)


class _Turn(nn.Module):
    def __init__(self, network: Repeated) -> None:
        super().__init__()
        self.network = network

    def forward(self, state: Tensor, numbers: Tensor, kept: Tensor) -> Tensor:
        return self.network.turn(state, numbers, kept)


class _End(nn.Module):
    def __init__(self, network: Repeated, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(self, state: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        tensors = self.network.end(state, images)
        return tuple(tensors[name].float() for name in self.names)


def write_repeated(
    network: Repeated,
    images: Tensor,
    names: tuple[str, Sequence[str]],
    *,
    any_number: bool,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> onnx.ModelProto:
    """The whole network as one graph with a loop.

    Args:
        network: In eval mode.
        images: An example, of two.
        names: Of the input, and of the outputs in their order.
        any_number: Whether the number of images is free; else it is one.
        progress: Called with parts traced and in all.

    Raises:
        RuntimeError: A part of it is of as many images as it was shown.
    """
    import torch
    from onnx import TensorProto, compose, helper, numpy_helper

    with torch.no_grad():
        begun, kept = network.begin(images)
    asked: dict[str, tuple[nn.Module, list[Tensor], tuple[Sequence[str], Sequence[str]]]] = {
        "begin": (_Begin(network), [images], ([names[0]], [_BEGUN, _KEPT])),
        "turn": (_Turn(network), [begun, network.turns[0], kept], ([_STATE, _NUMBERS, _KEPT], [_NEXT])),
        "end": (_End(network, names[1]), [begun, images], ([_ENDED, names[0]], names[1])),
    }
    parts: dict[str, onnx.ModelProto] = {}
    for name, (module, given, named) in asked.items():
        progress(len(parts), len(asked))
        part = write_graph(module, given, named, any_number=any_number, fixed=[_NUMBERS])
        if any_number and not takes_any_number(part.graph):
            raise RuntimeError(f"the {name} of a repeated network was traced for as many images as it was shown")
        make_plain(part)
        # What goes in and out keeps its name, which joins the parts.
        parts[name] = compose.add_prefix(part, f"{name}/", rename_inputs=False, rename_outputs=False)
    progress(len(parts), len(asked))
    begin, turn, end = (part.graph for part in parts.values())

    table = numpy_helper.from_array(network.turns.cpu().numpy().astype(np.float32), "turn_table")
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["turn_table", "turn"], [_NUMBERS], axis=0),
            *turn.node,
            helper.make_node("Identity", ["turn_wanted"], ["turn_goes_on"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("turn_wanted", TensorProto.BOOL, []),
            turn.input[0],
        ],
        [helper.make_tensor_value_info("turn_goes_on", TensorProto.BOOL, []), *turn.output],
        [table, *turn.initializer],
        value_info=turn.value_info,
    )
    count = numpy_helper.from_array(np.array(len(network.turns), np.int64), "turns")
    loop = helper.make_node("Loop", ["turns", "", _BEGUN], [_ENDED], name="turns", body=body)
    whole = helper.make_graph(
        [*begin.node, loop, *end.node],
        "repeated",
        begin.input,
        end.output,
        [count, *begin.initializer, *end.initializer],
        value_info=[*begin.value_info, *begin.output, *end.value_info],
    )
    versions = {entry.domain: entry.version for part in parts.values() for entry in part.opset_import}
    functions = {(own.domain, own.name): own for part in parts.values() for own in part.functions}
    model = helper.make_model(
        whole,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in versions.items()],
        functions=list(functions.values()),
        producer_name=parts["begin"].producer_name,
    )
    model.producer_version, model.ir_version = parts["begin"].producer_version, parts["begin"].ir_version
    return model
