"""PLY building blocks: header, rows, and quantization of compressed splats."""
