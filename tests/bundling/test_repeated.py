"""Networks one part of which runs again and again: what they cost does not depend on how often."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from muad.bundles.manifest import HeadFacts
from muad.bundling.complete import complete_graph
from muad.bundling.networks import ExportedNetwork
from muad.bundling.repeated import write_repeated
from muad.images.preprocessing import Preprocessing
from muad.nn.repeated import Repeated
from muad.runtime.heads import GridHead
from muad.runtime.sessions import onnx_session, openvino_session

SIZE = (8, 6)


class Tiny(Repeated):
    """Blurs a grid again and again, each turn by other numbers."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.again = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.turns = torch.linspace(0.1, 1, 2 * turns).view(turns, 2)
        self.called = 0
        self.requires_grad_(False)

    def begin(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.first(images), images.mean(dim=1, keepdim=True)

    def turn(self, state: torch.Tensor, numbers: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        self.called += 1
        return numbers[0] * self.again(state).tanh() + numbers[1] * kept

    def end(self, state: torch.Tensor, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"unasked": state, "grid": (state.mean(dim=1) - images.mean(dim=1)).abs()}


@pytest.fixture(scope="module")
def exported() -> tuple[Tiny, onnx.ModelProto]:
    network = Tiny(12).eval()
    return network, write_repeated(network, torch.rand(2, 3, *SIZE), ("images", ["grid"]), any_number=True)


def kinds(graph: onnx.GraphProto) -> list[str]:
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [*(node.op_type for node in graph.node), *(kind for own in inner for kind in kinds(own))]


def test_a_turn_is_traced_and_held_once_however_many_there_are(exported: tuple[Tiny, onnx.ModelProto]) -> None:
    network, graph = exported
    assert network.called < len(network.turns)
    held = kinds(graph.graph)
    assert (held.count("Loop"), held.count("Tanh"), held.count("Conv")) == (1, 1, 2)


def test_the_loop_gives_what_torch_gives_for_any_number_of_images(exported: tuple[Tiny, onnx.ModelProto]) -> None:
    network, graph = exported
    onnx.checker.check_model(graph, full_check=True)
    content = graph.SerializeToString()
    sessions = [onnx_session(content), openvino_session(content, None, "cpu", "fp32")]
    for count in (1, 3):
        images = torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(count))
        expected = network(images)["grid"].numpy()
        for session in sessions:
            np.testing.assert_allclose(session([images.numpy()])[0], expected, atol=1e-6)
        assert len({bytes(turn) for turn in expected}) == count


def test_the_loop_is_part_of_a_complete_network(exported: tuple[Tiny, onnx.ModelProto]) -> None:
    network, graph = exported
    whole = ExportedNetwork(
        graph=graph, outputs=("grid",), combine=None, head=HeadFacts(kind="GridHead"), input_px=SIZE,
        takes_any_number=True,
    )  # fmt: skip
    head, preprocessing = GridHead(grids=("grid",), input_px=SIZE), Preprocessing(resize_px=SIZE, crop_px=SIZE)
    model = complete_graph(whole, head, preprocessing)
    pixels = np.random.default_rng(1).integers(0, 256, (2, *SIZE, 3), np.uint8)
    maps, scores = onnxruntime.InferenceSession(model.SerializeToString()).run(["map", "score"], {"pixels": pixels})
    expected = head({"grid": network(torch.from_numpy(preprocessing.normalise(pixels)))["grid"].numpy()})
    np.testing.assert_allclose(maps, expected[0], atol=1e-6)
    np.testing.assert_allclose(scores, expected[1], atol=1e-6)
