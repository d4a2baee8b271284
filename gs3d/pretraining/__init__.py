"""Training of the networks that gs3d ships: the built-in prior, the classifier and CLIP."""
