"""From a prompt to a folder of files: configuration, one iteration, the loop around it, the clock and the checkpoints."""
