"""Images, masks and data sets: what is on disk, read correctly; start with `index.open_catalog`."""
