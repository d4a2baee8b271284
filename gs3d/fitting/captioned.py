"""Batches of captioned pictures for the prior: the pool's renders over random backgrounds, captions as people type them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gs3d.core.backgrounds import RANDOM_NUMBERS, random_backgrounds
from gs3d.core.cameras import VIEW_WORDS
from gs3d.core.rng import derive_seed
from gs3d.world.captions import PREFIXES, with_view
from gs3d.world.pool import Pool

PREFIX_SHARE, VIEW_SHARE = 1 / 3, 0.85


@dataclass(frozen=True)
class Captioned:
    """A pool with every caption it can be given already in tokens: a tokenizer in the loop would starve a GPU."""

    pool: Pool
    images: Tensor | None
    """[N, H, W, 4] uint8 on the device when it is a GPU; None reads them from disk."""
    caption: Tensor
    """[N] row of each picture's caption in `tokens`, before prefix and view are added."""
    view: Tensor
    """[N] index into VIEW_WORDS."""
    tokens: Tensor
    """[T, L]: for each caption all prefixes × (views and none); the last row is the empty caption."""

    @staticmethod
    def open(pool: Pool, tokenizer, device: str) -> "Captioned":
        texts = sorted({row["caption"] for row in pool.labels})
        prefixed = [f"{p} {t}" if p else t for t in texts for p in ("", *PREFIXES)]
        full = [with_view(t, v) for t in prefixed for v in (*VIEW_WORDS, None)] + [""]
        tokens = tokenizer(full, padding="max_length", truncation=True, return_tensors="pt").input_ids
        row_of = {t: i for i, t in enumerate(texts)}
        stride = (len(PREFIXES) + 1) * (len(VIEW_WORDS) + 1)
        caption = torch.tensor([row_of[row["caption"]] * stride for row in pool.labels])
        view = torch.tensor([VIEW_WORDS.index(row["view"]) for row in pool.labels])
        images = None
        if device != "cpu":
            images = torch.cat([torch.from_numpy(np.ascontiguousarray(shard)).to(device) for shard in pool.images])
        return Captioned(pool, images, caption.to(device), view.to(device), tokens.to(device))

    def __len__(self) -> int:
        return len(self.pool)

    def batch(self, indices: np.ndarray, dropout: float, seed: int, seen: int) -> tuple[Tensor, Tensor, torch.Generator]:
        """Pictures [B, H, W, 3] in [0, 1], tokens [B, L], and the generator to draw the noise from: functions of (seed, seen)."""
        device = self.tokens.device
        gen = torch.Generator(device).manual_seed(derive_seed(seed, "batch", seen))
        if self.images is None:
            at, rgba = torch.from_numpy(indices), torch.from_numpy(self.pool.rgba(indices))
        else:
            at = torch.from_numpy(indices).to(device)
            rgba = self.images[at].float() / 255
        n = len(indices)
        u = torch.rand(n, 8, generator=gen, device=device)
        images = rgba[..., :3] + (1 - rgba[..., 3:]) * random_backgrounds(u[:, :RANDOM_NUMBERS])[:, None, None, :]
        prefix = torch.where(u[:, 5] < PREFIX_SHARE, 1 + (u[:, 5] / PREFIX_SHARE * len(PREFIXES)).long().clamp_max(len(PREFIXES) - 1), 0)
        view = torch.where(u[:, 6] < VIEW_SHARE, self.view[at], len(VIEW_WORDS))
        row = self.caption[at] + prefix * (len(VIEW_WORDS) + 1) + view
        row = torch.where(u[:, 7] < dropout, len(self.tokens) - 1, row)
        return images, self.tokens[row], gen
