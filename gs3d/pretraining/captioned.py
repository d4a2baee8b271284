"""Batches of captioned pictures for the prior: the pool's renders over random backgrounds, captions as people type them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gs3d.core.backgrounds import RANDOM_NUMBERS, random_backgrounds
from gs3d.core.rng import derive_seed
from gs3d.core.views import EXACT_VIEWS, VIEW_WORDS
from gs3d.world.captions import NORMALS_PREFIX, PREFIXES, with_view
from gs3d.world.dataset import Dataset, Stored

PREFIX_SHARE, ROUGH_SHARE, EXACT_SHARE = 1 / 3, 0.1, 0.8
"""Captions that begin with a prefix; that end in a direction word; that end in the exact view."""


@dataclass(frozen=True)
class Captioned:
    """A pool with the pieces of every caption already in tokens: a tokenizer in the loop would starve a GPU."""

    pictures: Stored
    caption: Tensor
    """[N] row of each picture's caption in `captions`."""
    rough: Tensor
    """[N] row of each picture's direction word in `views`."""
    exact: Tensor
    """[N] row of each picture's exact view in `views`."""
    normals: Tensor
    """[N] whether a picture is a normal map."""
    prefixes: Tensor
    """[2 + P, a] tokens; row 0 is no prefix, the last that of normal maps. Pieces are padded at the end, and lose it when they are put
    together."""
    captions: Tensor
    """[C + 1, b]; the last row is no caption."""
    views: Tensor
    """[V + 1, c]; the last row is no view."""
    ends: tuple[int, int, int]
    """Tokens of beginning, end and padding."""
    length: int
    """Tokens of a caption, L."""

    @staticmethod
    def open(dataset: Dataset, tokenizer, device: str) -> "Captioned":
        def tokens(pieces: list[str]) -> Tensor:
            return tokenizer(
                pieces, add_special_tokens=False, padding="longest", return_tensors="pt"
            ).input_ids.to(device)

        if dataset.labels and "normals" not in dataset.labels[0]:
            raise ValueError(
                "the pool's labels do not say which pictures are normal maps; render it anew (scripts/render_world.py)"
            )
        texts = sorted({row["caption"] for row in dataset.labels})
        views = [*VIEW_WORDS, *EXACT_VIEWS]
        text_row, view_row = ({t: i for i, t in enumerate(names)} for names in (texts, views))
        prefixes, captions = tokens(["", *PREFIXES, NORMALS_PREFIX]), tokens([*texts, ""])
        endings = tokens([*(with_view("", v) for v in views), ""])
        longest = 2 + sum(piece.shape[1] for piece in (prefixes, captions, endings))
        if longest > tokenizer.model_max_length:
            raise ValueError(
                f"captions of {longest} tokens, and the encoder reads {tokenizer.model_max_length}"
            )

        def column(rows: dict[str, int], name: str) -> Tensor:
            return torch.tensor([rows[label[name]] for label in dataset.labels], device=device)

        return Captioned(
            Stored.of(dataset, device),
            caption=column(text_row, "caption"),
            rough=column(view_row, "view"),
            exact=column(view_row, "exact_view"),
            normals=torch.tensor([label["normals"] for label in dataset.labels], device=device),
            prefixes=prefixes,
            captions=captions,
            views=endings,
            ends=(tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id),
            length=tokenizer.model_max_length,
        )

    def __len__(self) -> int:
        return len(self.caption)

    def tokens(self, prefix: Tensor, caption: Tensor, view: Tensor) -> Tensor:
        """The captions of these rows of the pieces, [B] each, as the tokenizer would give them whole: [B, L]."""
        begin, end, pad = (
            torch.full((len(caption), 1), token, device=caption.device) for token in self.ends
        )
        loose = torch.cat(
            [begin, self.prefixes[prefix], self.captions[caption], self.views[view], end], dim=1
        )
        loose = torch.cat([loose, pad.expand(-1, self.length - loose.shape[1])], dim=1)
        return loose.gather(1, (loose == pad).int().argsort(dim=1, stable=True))

    def batch(
        self, indices: np.ndarray, dropout: float, seed: int, seen: int
    ) -> tuple[Tensor, Tensor, torch.Generator]:
        """Pictures [B, H, W, 3] in [0, 1], tokens [B, L], and the generator to draw the noise from: functions of (seed, seen)."""
        device = self.caption.device
        gen = torch.Generator(device).manual_seed(derive_seed(seed, "batch", seen))
        at = torch.from_numpy(indices).to(device)
        rgba = self.pictures.rgba(at)
        n = len(indices)
        u = torch.rand(n, 8, generator=gen, device=device)
        images = (
            rgba[..., :3]
            + (1 - rgba[..., 3:]) * random_backgrounds(u[:, :RANDOM_NUMBERS])[:, None, None, :]
        )
        prefix = torch.where(
            u[:, 5] < PREFIX_SHARE,
            1 + (u[:, 5] / PREFIX_SHARE * len(PREFIXES)).long().clamp_max(len(PREFIXES) - 1),
            0,
        )
        prefix = torch.where(self.normals[at], len(self.prefixes) - 1, prefix)
        view = torch.where(u[:, 6] < EXACT_SHARE, self.exact[at], len(self.views) - 1)
        view = torch.where(u[:, 6] > 1 - ROUGH_SHARE, self.rough[at], view)
        empty = u[:, 7] < dropout
        tokens = self.tokens(
            prefix.masked_fill(
                empty & ~self.normals[at], 0
            ),  # else a prompt's guidance would lead away from normal maps
            self.caption[at].masked_fill(empty, len(self.captions) - 1),
            view.masked_fill(empty, len(self.views) - 1),
        )
        return images, tokens, gen
