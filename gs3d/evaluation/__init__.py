"""Marks for what was made: does it look like the prompt from every side, and how clean is it? Knows the procedural world alone."""
