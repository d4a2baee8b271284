"""The algorithm: configuration, stages, one iteration, the budget and checkpoints."""
