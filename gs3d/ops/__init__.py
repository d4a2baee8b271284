"""Functions from splats to splats, and statistics of splats and meshes."""
