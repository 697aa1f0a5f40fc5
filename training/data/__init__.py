"""From pictures to data sets and back: files, labels, conversion, grids."""
