"""Parts of `runs.prepare`: what a run starts from, and what machine it is for."""
