"""Triangle meshes: depth-map fusion, simplification, texturing and rasterization."""
