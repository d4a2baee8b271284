"""Codebooks: 256 values that stand for any number of them, and a palette of vectors."""

import numpy as np
import torch

SIZE = 256
ROUNDS = 12
"""Iterations of k-means."""
PALETTE = 2**16
"""Most vectors of a palette."""
CLUSTERS = 2**12
"""Vectors of a palette of more splats than it can hold one by one."""
ROWS = 2**13
"""Vectors that are compared with the palette at once."""


def codebook_of(values: np.ndarray) -> np.ndarray:
    """256 increasing values, float32, near all `values` (k-means on a line).

    Up to 256 different values are kept exactly.
    """
    different = np.unique(values.astype(np.float32))
    if len(different) <= SIZE:
        return np.pad(different, (0, SIZE - len(different)), mode="edge")
    ordered = np.sort(values.ravel()).astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    # Half spread over the range and half over the values, so that rare ones are not far from any.
    spread = np.linspace(ordered[0], ordered[-1], SIZE // 2)
    centers = np.unique(
        np.concatenate([spread, np.quantile(ordered, np.linspace(0, 1, SIZE // 2))])
    )
    for _ in range(ROUNDS):
        cuts = np.searchsorted(ordered, (centers[1:] + centers[:-1]) / 2)
        ends = np.concatenate([[0], cuts, [len(ordered)]])
        counts = np.diff(ends)
        means = np.diff(sums[ends]) / np.maximum(counts, 1)
        centers = np.sort(np.where(counts > 0, means, centers))
    return np.pad(centers, (0, SIZE - len(centers)), mode="edge").astype(np.float32)


def indices_in(codebook: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Index of the nearest entry of an increasing `codebook` for each value, uint8."""
    return np.searchsorted((codebook[1:] + codebook[:-1]) / 2, values).astype(np.uint8)


def palette_of(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(palette float32 [P, D], index of each vector) for `vectors` [N, D].

    Up to 65,536 vectors are the palette themselves. More are clustered by k-means.
    """
    if len(vectors) <= PALETTE:
        return vectors.astype(np.float32), np.arange(len(vectors))
    data = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
    chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:CLUSTERS]
    palette = data[chosen].clone()
    labels = _nearest(data, palette)
    for _ in range(ROUNDS // 3):
        sums = torch.zeros_like(palette).index_add_(0, labels, data)
        counts = torch.bincount(labels, minlength=len(palette))[:, None]
        palette = torch.where(counts > 0, sums / counts.clamp_min(1), palette)
        labels = _nearest(data, palette)
    return palette.numpy(), labels.numpy()


def _nearest(data: torch.Tensor, palette: torch.Tensor) -> torch.Tensor:
    """Index of the nearest row of `palette` for each row of `data`."""
    half = 0.5 * palette.square().sum(1)
    return torch.cat([(half - part @ palette.T).argmin(1) for part in data.split(ROWS)])
