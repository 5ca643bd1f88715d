"""A trained run goes on learning: more products, more good parts of known ones, and products that are forgotten.

Read `extend` for the order of things. Which images are taken in is in `intake`, how the detector learns from them in
`learning`, what that did to the products that were there before in `proof`, and which limits it changes in `limits`.
"""

from muad.extension.extend import Extension, extend
from muad.extension.forget import forget
from muad.extension.settings import ExtensionSettings

__all__ = ["Extension", "ExtensionSettings", "extend", "forget"]
