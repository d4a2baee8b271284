"""What a run starts from (--start): existing files, or an object of another model."""
