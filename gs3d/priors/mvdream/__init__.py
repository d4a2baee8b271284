"""MVDream (Shi et al. 2023, arXiv 2308.16512): four views with their cameras, denoised together.

It is Stable Diffusion 2.1 with two changes: self-attention runs over the tokens of all views of a
group, and an embedding of each view's camera is added to that of the time. Its weights are read
from folders in the layout of `ashawkey/mvdream-sd2.1-diffusers`.
"""
