"""Detectors side by side: `compare` trains each under one protocol and writes tables, pictures and a recommendation.

`entries` says what is compared, `pace` and `budget` for how long, `trial` trains and `judging` measures one of them,
`ranking` weighs the figures, `table`, `pictures` and `page` show them; `study` is the whole in order.
"""

from muad.comparison.study import compare
from muad.comparison.table import Comparison

__all__ = ["Comparison", "compare"]
