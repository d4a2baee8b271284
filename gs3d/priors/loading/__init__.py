"""From the name of a model to its parts in memory: names, hub, cache, model folders."""
