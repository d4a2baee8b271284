"""The settings of a run: what they are, their presets and files, and changes of them."""
