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
POOLED = " pooled text"
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
    read: Callable[[Any, Tensor, Tensor], Outputs]
    """Calls the model with the numbers of the tokens [P, L], and 1 for each token and 0 for each
    padding [P, L]."""
    pooled_width: int = 0
    """Width of the pooled text; 0 if it gives none."""
    outputs_are: tuple[str, ...] = ("", POOLED)
    """What each result is, for messages; those that must differ between prompts."""
    is_summary: bool = False
    """Whether the network takes its pooled text only, and the words themselves from another."""
    is_lower: bool = False
    """Whether it was trained on lower case only."""

    @torch.no_grad()
    def outputs(self, prompts: list[str]) -> Outputs:
        """Results for P prompts, padded to full length."""
        tokens = self.tokenizer(
            [self.written(prompt) for prompt in prompts],
            padding="max_length",
            truncation=True,
            max_length=self.max_tokens,
            return_attention_mask=True,
            return_tensors="pt",
        )
        device = self.model.device
        ids, mask = cast(Tensor, tokens.input_ids), cast(Tensor, tokens.attention_mask)
        return self.read(self.model, ids.to(device), mask.to(device))

    def written(self, text: str) -> str:
        """The text as its tokenizer gets it."""
        return text.lower().strip() if self.is_lower else text

    def length(self, text: str) -> int:
        """Number of tokens of a text, which may be more than it reads."""
        tokens = self.tokenizer(self.written(text), verbose=False)
        return len(cast("list[int]", tokens.input_ids))


class TextEncoders:
    """Prompts → states of the tokens and the pooled text, packed in one tensor (`packing.pack`).

    Has the members of `network.TextEncoder`.
    """

    def __init__(
        self,
        encoders: Sequence[Encoder],
        combine: Callable[[list[Outputs]], Tensor],
        zeroes_empty: bool = False,
        lead: int = 0,
    ):
        """`combine` makes one text of the encoders' results.

        `lead` is the encoder whose length decides where prompts are cut. `zeroes_empty` replaces
        the embedding of the empty prompt by zeros, as diffusers does for a model that asks for it.
        """
        self.encoders: tuple[Encoder, ...] = tuple(encoders)
        self.tokenizer, self.max_tokens = encoders[lead].tokenizer, encoders[lead].max_tokens
        self.pooled_width = sum(encoder.pooled_width for encoder in encoders)
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
        text = self._combine(outputs)
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
    """A CLIP of which the states before the last layer are read, and the pooled text after it.

    Its padding is read too: the models with such a CLIP were trained so.
    """

    def read(model: Any, ids: Tensor, mask: Tensor) -> Outputs:
        out = model(ids, output_hidden_states=True)
        pooled = getattr(out, "text_embeds", None)
        return (out.hidden_states[-2], *(() if pooled is None else (pooled,)))

    has_pooled = hasattr(model, "text_projection")
    width = model.config.projection_dim if has_pooled else 0
    return Encoder(part, model, tokenizer, max_tokens, read, width)


def t5_encoder(
    part: str, model: Any, tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> Encoder:
    """The encoder of a T5, whose padding is read too. It has no pooled text."""

    def read(model: Any, ids: Tensor, mask: Tensor) -> Outputs:
        return (model(ids).last_hidden_state,)

    return Encoder(part, model, tokenizer, max_tokens, read)


def masked_t5_encoder(
    part: str, model: Any, tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> Encoder:
    """The encoder of a T5 whose tokens do not see the padding, on lower case.

    Its second result is 1 for each token and 0 for each padding [P, L].
    """

    def read(model: Any, ids: Tensor, mask: Tensor) -> Outputs:
        return (model(ids, attention_mask=mask).last_hidden_state, mask)

    return Encoder(part, model, tokenizer, max_tokens, read, outputs_are=("",), is_lower=True)


def combine_xl(outputs: list[Outputs]) -> Tensor:
    """Stable Diffusion XL (Podell et al. 2023): states side by side, the second pooled text."""
    return pack(torch.cat([states for states, *_ in outputs], dim=2), outputs[1][1])


def combine_3(outputs: list[Outputs], width: int) -> Float[Tensor, "P R width"]:
    """Stable Diffusion 3 (Esser et al. 2024, Fig. 2).

    The states of the two CLIPs side by side, filled up with zeros to `width`, and those of T5 after
    them. Without T5, zeros take its place, as in a part of the training. The pooled texts of both
    CLIPs are side by side too.
    """
    (one, one_pooled), (two, two_pooled), *others = outputs
    clip = torch.cat([one, two], dim=2)
    clip = functional.pad(clip, (0, width - clip.shape[2]))
    t5 = others[0][0] if others else clip.new_zeros(len(clip), T5_TOKENS, width)
    return pack(torch.cat([clip, t5], dim=1), torch.cat([one_pooled, two_pooled], dim=1))


def tokenizer_of(part: str) -> str:
    """Name of the tokenizer of the text encoder `part` in a model folder."""
    return part.replace("text_encoder", "tokenizer")
