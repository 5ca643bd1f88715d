"""The network that tells products apart, as ONNX: uint8 RGB photographs in the recogniser's size in, tokens out."""

from __future__ import annotations

import torch

from muad.bundles.manifest import RUN, RecogniserFacts
from muad.bundling.tracing import make_plain, write_graph
from muad.encoders.product_encoder import product_encoder
from muad.recognition.appearance import SIDE_PX

MEMBER = f"{RUN}recogniser.onnx"
_PIXELS, _TOKENS = "pixels", "tokens"


def export_recogniser() -> tuple[bytes, RecogniserFacts]:
    """The network as an ONNX file, and what it is."""
    encoder = product_encoder("cpu")
    pixels = torch.zeros(2, SIDE_PX, SIDE_PX, 3, dtype=torch.uint8)
    graph = write_graph(encoder.eval(), [pixels], ([_PIXELS], [_TOKENS]), any_number=True)
    make_plain(graph)
    facts = RecogniserFacts(
        member=MEMBER,
        input=_PIXELS,
        output=_TOKENS,
        side_px=SIDE_PX,
        prefix=encoder.prefix_tokens,
        fingerprint=encoder.fingerprint,
    )
    return graph.SerializeToString(), facts
