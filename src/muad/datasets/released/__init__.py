"""Data sets as their authors released them, where that is neither the layout of MVTec AD nor one of a person's own."""
