"""The station's pages: what an operator, an engineer and an administrator see in a browser.

Rendered on the server; the scripts in `static/` move pictures and handles, and ask for pieces of pages. Nothing is
loaded from another machine. Begin with `routes.py`; one file a page in `views/`; texts in `texts/`, figures in
`drawing/`.
"""
