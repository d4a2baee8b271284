"""Training batches of the prior: renders over random backgrounds with tokenized captions."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gs3d.core.backgrounds import RANDOM_NUMBERS, random_backgrounds
from gs3d.core.rng import derive_seed
from gs3d.core.views.words import EXACT_VIEWS, INSIDE_VIEWS, VIEW_WORDS
from gs3d.world.captions import NORMALS_PREFIX, PREFIXES, with_view
from gs3d.world.dataset import Dataset, Stored

PREFIX_SHARE, ROUGH_SHARE, EXACT_SHARE = 1 / 3, 0.1, 0.8
"""Shares of captions with a prefix, with a rough direction, and with an exact view."""


@dataclass(frozen=True)
class Captioned:
    """A dataset with all parts of its captions tokenized in advance.

    Running the tokenizer in the training loop would leave a GPU idle. The parts are padded at the
    end; `tokens` joins them and moves the padding to the end.
    """

    pictures: Stored
    caption: Tensor
    """[N] row of each image's caption in `captions`."""
    rough: Tensor
    """[N] row of each image's rough direction in `views`."""
    exact: Tensor
    """[N] row of each image's exact view in `views`."""
    normals: Tensor
    """[N] whether an image is a normal map."""
    prefixes: Tensor
    """[2 + P, a] tokens; row 0 is the empty prefix, the last row that of normal maps."""
    captions: Tensor
    """[C + 1, b] tokens; the last row is the empty caption."""
    views: Tensor
    """[V + 1, c] tokens; the last row is the empty view."""
    ends: tuple[int, int, int]
    """Tokens for begin, end and padding."""
    length: int
    """Tokens per caption, L."""

    @staticmethod
    def open(dataset: Dataset, tokenizer, device: str) -> "Captioned":
        """Tokenize the captions of a dataset and move them to `device`.

        Raises `ValueError` if the dataset is from before normal maps, or if a caption may exceed
        the tokenizer's length.
        """

        def tokens(parts: list[str]) -> Tensor:
            return tokenizer(
                parts, add_special_tokens=False, padding="longest", return_tensors="pt"
            ).input_ids.to(device)

        if dataset.labels and "normals" not in dataset.labels[0]:
            raise ValueError(
                "dataset: the labels do not mark normal maps;"
                " render it again with scripts/render_world.py"
            )
        texts = sorted({row["caption"] for row in dataset.labels})
        views = list(dict.fromkeys([*VIEW_WORDS, *EXACT_VIEWS, *INSIDE_VIEWS]))
        text_row, view_row = ({t: i for i, t in enumerate(names)} for names in (texts, views))
        prefixes, captions = tokens(["", *PREFIXES, NORMALS_PREFIX]), tokens([*texts, ""])
        endings = tokens([*(with_view("", v) for v in views), ""])
        longest = 2 + sum(part.shape[1] for part in (prefixes, captions, endings))
        if longest > tokenizer.model_max_length:
            raise ValueError(
                f"captions: expected at most {tokenizer.model_max_length} tokens, the limit of"
                f" the text encoder, got up to {longest}; train on places with --world places"
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
        """Join caption parts, given as rows [B] each, to tokens [B, L].

        The result equals the tokenizer's output for the joined text.
        """
        begin, end, pad = (
            torch.full((len(caption), 1), token, device=caption.device) for token in self.ends
        )
        joined = torch.cat(
            [begin, self.prefixes[prefix], self.captions[caption], self.views[view], end], dim=1
        )
        joined = torch.cat([joined, pad.expand(-1, self.length - joined.shape[1])], dim=1)
        return joined.gather(1, (joined == pad).int().argsort(dim=1, stable=True))

    def batch(
        self, indices: np.ndarray, dropout: float, seed: int, seen: int
    ) -> tuple[Tensor, Tensor, torch.Generator]:
        """Return images [B, H, W, 3] in [0, 1], tokens [B, L], and a generator for the noise.

        All three are functions of (`indices`, `seed`, `seen`). `dropout` is the share of empty
        captions.
        """
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
            # Normal maps keep their prefix even without a caption: otherwise they would belong to
            # the unconditional model, and guidance would push every prompt away from them.
            prefix.masked_fill(empty & ~self.normals[at], 0),
            self.caption[at].masked_fill(empty, len(self.captions) - 1),
            view.masked_fill(empty, len(self.views) - 1),
        )
        return images, tokens, gen
