"""Models as people share them, beside diffusers folders: single checkpoint files, and LoRAs."""
