"""The encoder that products are recognised by, as a bundle holds it: a network in ONNX Runtime or OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from muad.bundles.archive import BundleError
from muad.recognition.appearance import SIDE_PX, Appearance

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from muad.bundles.manifest import RecogniserFacts
    from muad.runtime.sessions import Session

_BATCH = 16


class ProductNetwork:
    """What photographs in the recogniser's size look like.

    Args:
        session: The network.
        facts: What it is.

    Attributes:
        fingerprint: Of the encoder.

    Raises:
        BundleError: It is of another size than this release makes photographs.
    """

    def __init__(self, session: Session, facts: RecogniserFacts) -> None:
        if facts.side_px != SIDE_PX:
            raise BundleError(
                f"recogniser.side_px must be {SIDE_PX}, got {facts.side_px}. Use the release that wrote it."
            )
        self.fingerprint = facts.fingerprint
        self._session, self._prefix = session, facts.prefix

    def encode(self, images: Sequence[UInt8[np.ndarray, "H W 3"]]) -> Appearance:
        """What images that `shrink` made look like."""
        parts = []
        for start in range(0, len(images), _BATCH):
            chosen = images[start : start + _BATCH]
            (tokens, *_) = self._session([np.stack(chosen)])
            if tokens.ndim != 3 or tokens.shape[0] != len(chosen) or tokens.shape[1] <= self._prefix:
                raise BundleError(
                    f"recogniser must give tokens of each image, got {list(tokens.shape)}. Export it again."
                )
            parts.append(Appearance.of_tokens(tokens, self._prefix, chosen))
        return Appearance.joined(parts)
