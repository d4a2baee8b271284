"""The parts of a .sog: its archive of images, and codebooks of 256 values."""
