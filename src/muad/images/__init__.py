"""Photographs as arrays: reading, bit depth, regions of interest, views of them, and maps back in their pixels."""
