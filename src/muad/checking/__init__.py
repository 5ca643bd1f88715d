"""What is wrong with a data set before anything is trained on it: `check_data` looks, `DataCheck` is what it found.

`write_check_page` shows it as one HTML file.
Read `check` for the order of things; each other module is one question, answered from plain values.
"""

from muad.checking.check import check_data
from muad.checking.findings import CategoryFacts, DataCheck, Finding
from muad.checking.page import write_check_page

__all__ = ["CategoryFacts", "DataCheck", "Finding", "check_data", "write_check_page"]
