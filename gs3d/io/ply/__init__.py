"""PLY: header, rows, and the packing of compressed splats."""
