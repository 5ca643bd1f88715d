"""Pages people file: `report` of a run, `write_check_page` of a data set. One HTML file each, nothing outside it.

`content` decides what is said, `plots` and `pictures` draw, `page` puts it into the templates.
"""

from muad.reporting.check_page import write_check_page
from muad.reporting.report import report

__all__ = ["report", "write_check_page"]
