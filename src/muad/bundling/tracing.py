"""A torch module as an ONNX graph, without what the exporter says and notes of the machine it ran on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

OPSET = 18
_LARGEST_BATCH = 16  # of the trace; what comes out takes any number


def write_graph(
    module: nn.Module,
    given: Sequence[Tensor],
    names: tuple[Sequence[str], Sequence[str]],
    *,
    any_number: bool,
    fixed: Sequence[str] = (),
) -> Any:  # noqa: ANN401
    """A module as an ONNX graph.

    Args:
        module: In eval mode.
        given: An example of each input, of two rows.
        names: Of the inputs, and of the outputs.
        any_number: Whether the first size of inputs is free; else it is one.
        fixed: Inputs that have no such size, and are taken as they are.
    """
    batch = torch.export.Dim("batch", max=_LARGEST_BATCH)
    counted = [name not in fixed for name in names[0]]
    with torch.no_grad(), warnings.catch_warnings(), _saying_nothing("onnxscript"), _saying_nothing("torch.onnx"):
        warnings.simplefilter("ignore")  # of packages that will change, which nobody here can do anything about
        program = torch.onnx.export(
            module,
            tuple(
                example[:1] if counts and not any_number else example
                for example, counts in zip(given, counted, strict=True)
            ),
            input_names=list(names[0]),
            output_names=list(names[1]),
            opset_version=OPSET,
            dynamic_shapes=tuple({0: batch} if counts else {} for counts in counted) if any_number else None,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter gave nothing")
    return program.model_proto


def takes_any_number(graph: onnx.GraphProto) -> bool:
    """Whether the first size of its first input is free; a trace may have fixed it to what it was shown."""
    return bool(graph.input[0].type.tensor_type.shape.dim[0].dim_param)


def make_plain(model: onnx.ModelProto) -> None:
    """Take out what the exporter notes of the machine it ran on: files, lines and values nobody reads."""
    for holder in (model, model.graph, *model.functions):
        holder.doc_string = ""
        del holder.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
        tensor.doc_string = ""


@contextmanager
def _saying_nothing(name: str) -> Iterator[None]:
    """Only errors of a package's log; it notes what it did not simplify."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
