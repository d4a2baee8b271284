"""Training of the networks that ship with gs3d: the built-in prior, the classifier and CLIP."""
