"""Color words and their RGB values in [0, 1]."""

import numpy as np

NAMED: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.11, 0.11),
    "orange": (0.97, 0.52, 0.06),
    "yellow": (0.96, 0.86, 0.12),
    "green": (0.14, 0.66, 0.20),
    "blue": (0.13, 0.29, 0.86),
    "purple": (0.52, 0.16, 0.72),
    "pink": (0.98, 0.55, 0.73),
    "white": (0.96, 0.96, 0.96),
    "cyan": (0.10, 0.78, 0.82),
    "brown": (0.45, 0.26, 0.12),
    "grey": (0.55, 0.55, 0.56),
    "black": (0.08, 0.08, 0.09),
}
"""Colors that a caption may give to the object, its pattern, or one of its parts."""

COLOR_SYNONYMS: dict[str, tuple[str, ...]] = {
    "grey": ("gray",),
    "purple": ("violet",),
    "cyan": ("turquoise",),
}

FIXED: dict[str, tuple[float, float, float]] = {
    "snow": (0.95, 0.95, 0.95),
    "cream": (0.93, 0.87, 0.74),
    "wood": (0.43, 0.27, 0.14),
    "dark": (0.12, 0.12, 0.13),
    "sky": (0.62, 0.83, 0.95),
    "lemon": (0.99, 0.95, 0.60),
    "slate": (0.35, 0.37, 0.42),
    "steel": (0.70, 0.73, 0.77),
    "brick": (0.60, 0.28, 0.20),
    "carrot": (0.98, 0.50, 0.08),
    "waffle": (0.83, 0.62, 0.33),
    "cherry": (0.78, 0.05, 0.10),
    "flame": (0.99, 0.75, 0.20),
    "blossom": (0.95, 0.35, 0.55),
    "leaf": (0.16, 0.47, 0.17),
}
"""Colors of parts that the caption does not color, such as tires, trunks and windows."""


def near(name: str, rng: np.random.Generator, spread: float = 0.03) -> tuple[float, float, float]:
    """A random shade of the color `name`: each channel is changed by at most `spread`."""
    red, green, blue = np.clip(np.asarray(NAMED[name]) + rng.uniform(-spread, spread, 3), 0, 1)
    return float(red), float(green), float(blue)
