# pyright: basic
# numba compiles the kernel and infers the types of its arguments.
"""GELU on a CPU in one pass, in a quarter of the time that torch takes for an exact tanh.

Import this module only when it is needed, because it imports numba.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gs3d.core.runtime import threads
from gs3d.core.runtime.cache import import_numba

if TYPE_CHECKING:
    from jaxtyping import Float32

numba = import_numba()

BLOCK = 2**17
"""Numbers in one task. A smaller one would take less time than waking another thread."""
F = np.float32
# GELU(x) ≈ x / (1 + exp(−2·√(2/π)·(x + 0.044715 x³))), and exp(y) = 2^(y·log₂e).
LINEAR = F(-2 * math.sqrt(2 / math.pi) * math.log2(math.e))
CUBIC = F(0.044715) * LINEAR
LIMIT = F(126.0)
"""The largest exponent of 2; beyond it the result is x or 0 in float32."""
ROUNDING = F(1.5 * 2**23)
"""Added to a float32, it leaves the nearest integer in the lowest bits."""
ONE = F(1.0)
ONE_BITS = np.int32(127 << 23)
# 2^f on [−½, ½] by its Taylor series, ln(2)ᵏ / k!, exact to 2e-7.
POWERS = tuple(F(math.log(2) ** k / math.factorial(k)) for k in range(7))
P1, P2, P3, P4, P5, P6 = POWERS[1:]


def gelu_(x: Float32[Tensor, " *N"]) -> Float32[Tensor, " *N"]:
    """GELU by its tanh approximation (Hendrycks & Gimpel 2016, 1606.08415, Sec. 2), in place.

    `x` is contiguous, on the CPU, and needs no gradient. The error is at most 2e-7 of max(1, |x|).
    """
    flat = x.view(-1).numpy()
    # As many threads as the rest of the network, and not as the rasterizer.
    threads.run(_gelu, math.ceil(flat.size / BLOCK), flat, count=torch.get_num_threads())
    return x


def warm_up() -> None:
    """Compile the kernel, or load it from the cache."""
    gelu_(torch.zeros(1))


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
def _gelu(piece, pieces, x):
    for first in range(piece * BLOCK, x.size, pieces * BLOCK):
        block = x[first : first + BLOCK]
        for i in range(block.size):
            v = block[i]
            y = v * (LINEAR + CUBIC * (v * v))
            y = min(max(y, -LIMIT), LIMIT)
            shifted = y + ROUNDING
            f = y - (shifted - ROUNDING)
            power = ONE + f * (P1 + f * (P2 + f * (P3 + f * (P4 + f * (P5 + f * P6)))))
            # The rounded exponent of 2 is added to the bits of the exponent of 1.
            bits = (np.float32(shifted).view(np.int32) << np.int32(23)) + ONE_BITS
            block[i] = v / (ONE + power * np.int32(bits).view(np.float32))
