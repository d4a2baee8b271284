"""The tracer of `kernels` on a CUDA device, with one thread per pixel.

numba compiles the same functions for the device.
"""

# numba's types know neither `cuda.grid(1)` nor a launch, `kernel[blocks, threads](...)`.
# pyright: reportCallIssue=false, reportIndexIssue=false

import warnings

import numpy as np

# Imported before numba.cuda, because this import sets numba's cache folder before numba loads.
from gs3d.world.tracer.kernels import pixel

from numba import cuda  # isort: skip
from numba.core.errors import NumbaPerformanceWarning  # isort: skip

THREADS = 128
"""Threads per block."""


# Not cached: numba would not notice a change of `kernels`.
@cuda.jit(fastmath=True)
def _trace(parts, starts, centers, rotation, focal, supersample, out):
    height, width = out.shape[1], out.shape[2]
    job = cuda.grid(1)
    m, at = job // (height * width), job % (height * width)
    if m < out.shape[0]:
        u, v = at % width, at // width
        first, last = starts[m], starts[m + 1]
        pixel(parts, first, last, centers[m], rotation[m], focal[m], u, v, supersample, out[m])


def trace(
    parts: np.ndarray,
    starts: np.ndarray,
    centers: np.ndarray,
    rotation: np.ndarray,
    focal: np.ndarray,
    supersample: int,
    out: np.ndarray,
) -> None:
    """As `kernels.trace_rows`; the arrays are contiguous and in host memory."""
    inputs = [cuda.to_device(array) for array in (parts, starts, centers, rotation, focal)]
    renders = cuda.to_device(out)
    with warnings.catch_warnings():
        # numba warns about small images because they leave most of the device idle.
        warnings.simplefilter("ignore", NumbaPerformanceWarning)
        _trace[-(-out[..., 0].size // THREADS), THREADS](*inputs, supersample, renders)
    renders.copy_to_host(out)
