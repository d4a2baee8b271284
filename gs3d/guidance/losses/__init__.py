"""The guidance losses, one file each. `gs3d.guidance` has the table of their names."""
