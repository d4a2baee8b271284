"""The procedural world: objects of signed-distance parts, their captions, and a fast CPU renderer.

Training data for the built-in prior and ground truth for evaluation: every picture has a caption that is known to be right.
"""
