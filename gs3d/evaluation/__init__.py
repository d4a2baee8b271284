"""Metrics of generated assets: agreement with the prompt from every view, shape and cleanliness."""
