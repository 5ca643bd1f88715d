"""Pages people file: `write_check_page` of a data set. One HTML file, nothing outside it.

`pictures` draws, `page` puts values into the templates.
"""

from muad.reporting.check_page import write_check_page

__all__ = ["write_check_page"]
