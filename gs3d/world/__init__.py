"""The procedural world: objects built from signed-distance parts, their captions, and a renderer.

It gives training data for the built-in prior and ground truth for evaluation. Every render has a
caption that is known to be correct.
"""
