"""What is optimised: splats. A radiance field and a surface of tetrahedra are here too, and not yet modes of `gs3d generate`."""
