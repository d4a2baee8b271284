"""SPZ: container and byte streams."""
