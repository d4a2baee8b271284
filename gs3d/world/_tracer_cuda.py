"""The tracer of `_tracer` on an NVIDIA card, a thread a pixel: the same functions, compiled for it by numba."""

import warnings

import numpy as np

from gs3d.core.cache import import_numba
from gs3d.core.errors import UserError
from gs3d.world._tracer import pixel

import_numba()

from numba import cuda  # noqa: E402 - not before numba's cache has its place

THREADS = 128


@cuda.jit(fastmath=True)
def _trace(parts, starts, centres, rotation, focal, supersample, out):
    height, width = out.shape[1], out.shape[2]
    job = cuda.grid(1)
    m, at = job // (height * width), job % (height * width)
    if m < out.shape[0]:
        u, v = at % width, at // width
        pixel(parts, starts[m], starts[m + 1], centres[m], rotation[m], focal[m], u, v, supersample, out[m])


def trace(parts, starts, centres, rotation, focal, supersample: int, out: np.ndarray) -> None:
    """As `_tracer.trace`; the arrays are of the host, contiguous."""
    if not cuda.is_available():
        raise UserError("drawing the world on cuda: numba finds no card here; install numba-cuda and a driver, or draw on the CPU")
    read = [cuda.to_device(array) for array in (parts, starts, centres, rotation, focal)]
    pictures = cuda.to_device(out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba warns of a small picture that it leaves the card idle
        _trace[-(-out[..., 0].size // THREADS), THREADS](*read, supersample, pictures)
    pictures.copy_to_host(out)
