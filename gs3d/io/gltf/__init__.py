"""glTF 2.0: the binary container and the scene graph."""
