"""Commands for splat files and meshes."""
