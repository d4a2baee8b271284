"""Triangle meshes: fusing depth maps, simplification, texturing, rasterization."""
