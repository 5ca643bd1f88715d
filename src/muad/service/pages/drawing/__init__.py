"""Figures of the pages as SVG, made on the server; colours come from the style sheet by class."""
