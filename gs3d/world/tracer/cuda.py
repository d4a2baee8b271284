"""The tracer of `_tracer` on an NVIDIA card, a thread a pixel: the same functions, compiled for it by numba."""

import warnings

import numpy as np

from gs3d.world.tracer.kernels import pixel  # places numba's cache before its first import

from numba import cuda  # isort: skip
from numba.core.errors import NumbaPerformanceWarning  # isort: skip

THREADS = 128


@cuda.jit(fastmath=True)  # not cached: numba would not see that `_tracer` has changed
def _trace(parts, starts, centers, rotation, focal, supersample, out):
    height, width = out.shape[1], out.shape[2]
    job = cuda.grid(1)
    m, at = job // (height * width), job % (height * width)
    if m < out.shape[0]:
        u, v = at % width, at // width
        pixel(
            parts,
            starts[m],
            starts[m + 1],
            centers[m],
            rotation[m],
            focal[m],
            u,
            v,
            supersample,
            out[m],
        )


def trace(
    parts: np.ndarray,
    starts: np.ndarray,
    centers: np.ndarray,
    rotation: np.ndarray,
    focal: np.ndarray,
    supersample: int,
    out: np.ndarray,
) -> None:
    """As `_tracer.trace`; the arrays are of the host, contiguous."""
    read = [cuda.to_device(array) for array in (parts, starts, centers, rotation, focal)]
    pictures = cuda.to_device(out)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", NumbaPerformanceWarning
        )  # a small picture leaves the card idle
        _trace[-(-out[..., 0].size // THREADS), THREADS](*read, supersample, pictures)
    pictures.copy_to_host(out)
