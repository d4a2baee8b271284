"""SPZ building blocks: container and byte streams."""
