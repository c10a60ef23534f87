"""The seams, one file per target: what stands in the place of a library's own functions. The rows are in _catalog."""
