"""Parts of `runs.prepare`: what the machine and the prior ask of the settings."""
