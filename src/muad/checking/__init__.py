"""What is wrong with a data set before anything is trained on it: `check_data` looks, `DataCheck` is what it found.

Read `check` for the order of things; each other module is one question, answered from plain values.
"""

from muad.checking.check import check_data
from muad.checking.findings import CategoryFacts, DataCheck, Finding

__all__ = ["CategoryFacts", "DataCheck", "Finding", "check_data"]
