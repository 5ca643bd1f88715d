"""A folder that photographs arrive in, judged one by one as they are complete.

What is complete is said by `arrivals`, what is done by `ledger`, where finished photographs go by `moving`, and how it
all comes about by `watch`.
"""

from muad.watching.watch import Counts, watch

__all__ = ["Counts", "watch"]
