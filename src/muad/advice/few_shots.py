"""What may be expected of fewer than ten good photographs of a product, said before anything is trained on them."""

from __future__ import annotations

from collections.abc import Mapping

FEW = 10
"""Of fewer good photographs none are kept for limits, and what was measured with so few is said."""
EXPECTED: Mapping[int, tuple[float, float]] = {
    1: (0.786, 0.020),
    2: (0.799, 0.013),
    4: (0.827, 0.003),
    8: (0.845, 0.007),
    16: (0.869, 0.008),
}
"""By photographs of a product, image AUROC of a memory of patches: mean and deviation over draws (docs/few-shot.md)."""
EXPECTED_OF_MANY = 0.905
"""The same of MANY."""
MANY = 64
_NAMED = 4


def expectations(counts: Mapping[str, int]) -> str | None:
    """A sentence for whoever trains on few photographs; None where no product has few.

    Args:
        counts: Good photographs of each product that are trained on and kept.
    """
    few = {name: count for name, count in counts.items() if count < FEW}
    if not few:
        return None
    fewest = min(few.values())
    measured = max((shots for shots in EXPECTED if shots <= fewest), default=min(EXPECTED))
    mean, spread = EXPECTED[measured]
    named = ", ".join(f"{name} {count}" for name, count in list(few.items())[:_NAMED])
    others = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
    shown = f"{measured} photograph{'' if measured == 1 else 's'}"
    return (
        f"few photographs ({named}{others}): of three rendered products a memory of {shown} each ranked defects with "
        f"image AUROC {mean:.3f} ± {spread:.3f} over draws, one of {MANY} with {EXPECTED_OF_MANY:.3f} "
        f"(docs/few-shot.md). {_on_limits(few)}"
    )


def _on_limits(few: Mapping[str, int]) -> str:
    """What limits can come of them."""
    most = max(few.values())
    if most < 2:
        return "Limits need other good photographs: muad calibrate RUN GOOD_IMAGES."
    return (
        f"None are kept for limits: muad calibrate RUN GOOD_IMAGES takes others; of these, muad calibrate RUN "
        f"--cross-fit {most} gives a review limit that one good part in {most + 1} exceeds, assumed, not proven."
    )
