"""The tracer of `kernels` on the CPU, with a row of pixels per task."""

import numpy as np

from gs3d.core.runtime.threads import run
from gs3d.world.tracer.kernels import trace_rows


def trace(
    parts: np.ndarray,
    starts: np.ndarray,
    centers: np.ndarray,
    rotation: np.ndarray,
    focal: np.ndarray,
    supersample: int,
    out: np.ndarray,
) -> None:
    """As `kernels.trace_rows`, on the threads of torch."""
    rows = out.shape[0] * out.shape[1]
    run(trace_rows, rows, parts, starts, centers, rotation, focal, supersample, out)
