"""Which of the trained products a photograph shows, or that it shows none of them.

Training leaves what up to 64 good photographs per category look like in the run folder. A new photograph belongs to the
category it is nearest to, and to none if it lies beyond that category's limit. How near good photographs lie is learned
from those same ones, each against the others of its category. The encoder is always the one in the package, at a small
size, whatever the detector: its answer does not change with the detector's backend or precision, and a detector need
not have one. What it can do and costs is measured in docs/recognition-proof.md.

`appearance` tells what a photograph looks like, `memory` how far it lies from a product, `products` what it is called;
the network is `encoders/product_encoder.py`, the only part that needs torch. Beside the weights lie
`products.safetensors` and `products.toml` (facts, and a rate to edit). Names are imported when first used.

References:
    Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005, chapter 2 (conformal p-values).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muad.recognition.appearance import COPIES, Appearance, shrink
    from muad.recognition.learning import Recogniser, has_products, learn_products, look_at
    from muad.recognition.memory import Memory
    from muad.recognition.products import UNKNOWN_PRODUCT, Products, Recognition

_HOMES = {
    "COPIES": "appearance",
    "UNKNOWN_PRODUCT": "products",
    "Appearance": "appearance",
    "Memory": "memory",
    "Products": "products",
    "Recogniser": "learning",
    "Recognition": "products",
    "has_products": "learning",
    "learn_products": "learning",
    "look_at": "learning",
    "shrink": "appearance",
}

__all__ = [
    "COPIES",
    "UNKNOWN_PRODUCT",
    "Appearance",
    "Memory",
    "Products",
    "Recogniser",
    "Recognition",
    "has_products",
    "learn_products",
    "look_at",
    "shrink",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _HOMES:
        raise AttributeError(f"module 'muad.recognition' has no attribute {name!r}")
    return getattr(import_module(f"muad.recognition.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
