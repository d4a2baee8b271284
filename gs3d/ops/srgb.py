"""The transfer curve of sRGB (IEC 61966-2-1), for arrays."""

import numpy as np


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light from sRGB values in [0, 1]."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """sRGB values from linear light of 0 and more."""
    high = 1.055 * np.clip(linear, 1e-9, None) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, linear * 12.92, high)
