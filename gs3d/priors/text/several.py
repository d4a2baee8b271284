# pyright: reportUnknownMemberType=false
# transformers has no complete types.
"""Text encoders, and how Stable Diffusion XL and 3 make one text of the results of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.priors.text.packing import pack

if TYPE_CHECKING:
    from jaxtyping import Float, Float32
    from transformers import PreTrainedTokenizerBase

T5_TOKENS = 256
"""Length of the texts that diffusers gives T5 for Stable Diffusion 3; T5 itself has no limit."""
FREED = (
    "embed: the text encoder was freed by free_text_encoder(); "
    "embed all prompts first, or load the prior again"
)
Outputs = tuple[Tensor, ...]
"""States of the tokens [P, L, H], and the pooled text [P, W] of an encoder that has one."""


@dataclass(frozen=True)
class Encoder:
    """One text encoder of a model with its tokenizer."""

    part: str
    """Its name in the model folder."""
    model: Any
    """CLIPTextModel, CLIPTextModelWithProjection or T5EncoderModel."""
    tokenizer: PreTrainedTokenizerBase
    max_tokens: int
    read: Callable[[Any, Tensor], Outputs]
    """Calls the model with the numbers of the tokens [P, L]."""

    @torch.no_grad()
    def outputs(self, prompts: list[str]) -> Outputs:
        """Results for P prompts, padded to full length.

        There is no attention mask: all supported models read the padding too.
        """
        tokens = self.tokenizer(
            prompts,
            padding="max_length",
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        return self.read(self.model, cast(Tensor, tokens.input_ids).to(self.model.device))


class TextEncoders:
    """Prompts → states of the tokens and the pooled text, packed in one tensor (`packing.pack`).

    Has the members of `network.TextEncoder`.
    """

    def __init__(
        self,
        encoders: Sequence[Encoder],
        combine: Callable[[list[Outputs]], tuple[Tensor, Tensor]],
        zeroes_empty: bool = False,
    ):
        """`combine` makes the states and the pooled text of the encoders' results.

        The first of the `encoders` is a CLIP. `zeroes_empty` replaces the embedding of the empty
        prompt by zeros, as diffusers does for a model that asks for it.
        """
        self.encoders = tuple(encoders)
        self.tokenizer, self.max_tokens = encoders[0].tokenizer, encoders[0].max_tokens
        self.pooled_width = sum(_pooled_width(encoder) for encoder in encoders)
        self._combine, self._zeroes_empty = combine, zeroes_empty

    @property
    def model(self) -> Any:
        """The first encoder; None after `free`."""
        return self.encoders[0].model if self.encoders else None

    def embed(self, prompts: list[str]) -> Float32[Tensor, "P L E"]:
        """Embeddings of P prompts. Raises RuntimeError after `free`."""
        if not self.encoders:
            raise RuntimeError(FREED)
        outputs = [tuple(x.float() for x in e.outputs(prompts)) for e in self.encoders]
        text = pack(*self._combine(outputs))
        if self._zeroes_empty:
            text[torch.tensor([not prompt for prompt in prompts], device=text.device)] = 0
        return text

    def free(self) -> None:
        """Release the memory of all encoders; the tokenizer for `ViewPrompts` stays."""
        self.encoders = ()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def token_limit(model: Any, tokenizer: PreTrainedTokenizerBase) -> int:
    """Number of tokens that a CLIP encoder with this tokenizer reads."""
    # A tokenizer without a maximum length has 1e30 here; the encoder's positions are the limit.
    return min(cast(int, tokenizer.model_max_length), model.config.max_position_embeddings)


def clip_encoder(
    part: str, model: Any, tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> Encoder:
    """A CLIP of which the states before the last layer are read, and the pooled text after it."""

    def read(model: Any, tokens: Tensor) -> Outputs:
        out = model(tokens, output_hidden_states=True)
        pooled = getattr(out, "text_embeds", None)
        return (out.hidden_states[-2], *(() if pooled is None else (pooled,)))

    return Encoder(part, model, tokenizer, max_tokens, read)


def t5_encoder(part: str, model: Any, tokenizer: PreTrainedTokenizerBase) -> Encoder:
    """The encoder of a T5. It has no pooled text."""
    return Encoder(part, model, tokenizer, T5_TOKENS, lambda m, ids: (m(ids).last_hidden_state,))


def combine_xl(outputs: list[Outputs]) -> tuple[Tensor, Tensor]:
    """Stable Diffusion XL (Podell et al. 2023): states side by side, the second pooled text."""
    return torch.cat([states for states, *_ in outputs], dim=2), outputs[1][1]


def combine_3(
    outputs: list[Outputs], width: int
) -> tuple[Float[Tensor, "P L width"], Float[Tensor, "P W"]]:
    """Stable Diffusion 3 (Esser et al. 2024, Fig. 2).

    The states of the two CLIPs side by side, filled up with zeros to `width`, and those of T5 after
    them. Without T5, zeros take its place, as in a part of the training. The pooled texts of both
    CLIPs are side by side too.
    """
    (one, one_pooled), (two, two_pooled), *others = outputs
    clip = torch.cat([one, two], dim=2)
    clip = functional.pad(clip, (0, width - clip.shape[2]))
    t5 = others[0][0] if others else clip.new_zeros(len(clip), T5_TOKENS, width)
    return torch.cat([clip, t5], dim=1), torch.cat([one_pooled, two_pooled], dim=1)


def tokenizer_of(part: str) -> str:
    """Name of the tokenizer of the text encoder `part` in a model folder."""
    return part.replace("text_encoder", "tokenizer")


def _pooled_width(encoder: Encoder) -> int:
    """Width of the pooled text of an encoder; 0 for one without."""
    has_one = hasattr(encoder.model, "text_projection")
    return encoder.model.config.projection_dim if has_one else 0
