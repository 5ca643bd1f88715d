"""What prediction leaves on disk.

One subject a file: which images there are (`sources`), what their outputs are called (`names`), maps (`maps`), tables
(`tables`), and how it all comes about (`writing`).
"""

from muad.outputs.maps import MAP_FORMATS, MapFormat, MapSize, write_npy, write_png, write_tiff
from muad.outputs.sources import Source, find_images
from muad.outputs.tables import Used, earlier_results, rows_as_json
from muad.outputs.writing import Save, picture_choice, write_one, write_predictions
from muad.overlays import draw_overlay

__all__ = [
    "MAP_FORMATS",
    "MapFormat",
    "MapSize",
    "Save",
    "Source",
    "Used",
    "draw_overlay",
    "earlier_results",
    "find_images",
    "picture_choice",
    "rows_as_json",
    "write_npy",
    "write_one",
    "write_png",
    "write_predictions",
    "write_tiff",
]
