"""What a model's folder says of the model: its license, and whether it is a few-step student."""
