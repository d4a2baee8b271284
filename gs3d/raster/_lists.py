# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# numpy has no complete types.
"""Lists of the splats that each part of the images needs, for the tile kernels."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from gs3d.core.runtime.threads import run

MAX_SPLATS = 2_000_000
"""Maximum number of splats of all bands whose lists are in memory at a time, but of one band at
least. Those that touch two bands count twice. Lists take 36 bytes a splat, and while gradients are
computed 40 to 52 more.

A very large number of huge splats can exceed it. They are then drawn in several batches."""


@functools.cache
def kernels() -> ModuleType:
    """Import the tile kernels at the first render."""
    from gs3d.raster import _tiles

    return _tiles


@dataclass(frozen=True)
class Grouped:
    """What `_tiles.sort` writes, for B views of N splats."""

    splats: np.ndarray
    """Its `grouped`: [B, N, COLUMNS] float32."""
    order: np.ndarray
    """[B, N] int32."""
    by_depth: np.ndarray
    """[B, N] int32."""
    counts: np.ndarray
    """[B] int32."""
    band_counts: np.ndarray
    """[B, bands + 1] int32."""


@dataclass(frozen=True)
class Lists:
    """The M splats of some bands; those that touch two bands count twice."""

    first: int
    """The first band, counted over all views."""
    offsets: np.ndarray
    """Where the splats of each band begin and end: [bands + 1] int64."""
    listed: np.ndarray
    """What `_tiles.list_bands` writes: [M] int32."""
    items: np.ndarray
    """Room for what `_tiles.forward` keeps: [ROOM · M, 2] int32."""


def grouped_by_band(splats: np.ndarray, height: int) -> Grouped:
    """Sort projected splats [B, N, COLUMNS] of images with `height` rows."""
    k = kernels()
    views, n = splats.shape[:2]
    band_counts = np.empty((views, -(-height // k.BAND) + 1), np.int32)
    order, by_depth = np.empty((views, n), np.int32), np.empty((views, n), np.int32)
    found = Grouped(np.empty_like(splats), order, by_depth, np.empty(views, np.int32), band_counts)
    places = found.splats, found.order, found.by_depth
    run(k.sort, views, splats, *places, found.counts, found.band_counts)
    return found


def batches(found: Grouped) -> Iterator[Lists]:
    """All bands, in batches of at most `MAX_SPLATS` splats, but of whole bands."""
    k = kernels()
    views, bands = len(found.counts), found.band_counts.shape[1] - 1
    ends = np.cumsum(found.band_counts[:, :bands].reshape(-1), dtype=np.int64)
    first = 0
    while first < len(ends):
        done = ends[first - 1] if first else 0
        fitting = int(np.searchsorted(ends, done + MAX_SPLATS, side="right"))
        last = max(first + 1, fitting)
        offsets = np.concatenate([[0], ends[first:last] - done])
        listed = np.empty(offsets[-1], np.int32)
        inputs = offsets, found.splats, found.by_depth, found.counts
        run(k.list_bands, views, first, bands, *inputs, listed)
        yield Lists(first, offsets, listed, np.empty((k.ROOM * offsets[-1], 2), np.int32))
        first = last
