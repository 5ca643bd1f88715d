"""The page of a run that people file: `report` writes one HTML file, with nothing outside it.

`content` decides what is said, `plots` and `pictures` draw, `page` puts it into the templates.
"""

from muad.reporting.report import report

__all__ = ["report"]
