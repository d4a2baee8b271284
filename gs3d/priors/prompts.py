# pyright: reportUnknownMemberType=false
# transformers has no complete types.
"""Prompt and camera → condition: prompt checks, direction words, the negative prompt."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.errors import UserError
from gs3d.core.runtime.transfer import moved
from gs3d.core.views.words import (
    EXACT_VIEWS,
    INSIDE_VIEWS,
    VIEW_WORDS,
    exact_views,
    view_weights,
    view_words,
    wrong_view_weights,
)
from gs3d.priors.base import Condition, Prior
from gs3d.priors.text.limits import fit

if TYPE_CHECKING:
    from jaxtyping import Float
    from transformers import PreTrainedTokenizerBase

    from gs3d.priors.network import TextEncoder
    from gs3d.priors.text.several import TextEncoders

MAX_CHARACTERS = 1000
NEGATIVE = "ugly, blurry, low quality, oversaturated, deformed, cropped, text, watermark"
"""Default negative prompt of a prior with an open vocabulary.

A prior with a closed vocabulary was trained with the empty negative prompt only.
"""
VIEW_SUFFIX = ", {view} view"
"""Text after the prompt for each view of `core.views.words`, as in captions of the built-in
prior."""


def check_prompt(prompt: Any, what: str = "prompt") -> str:
    """Collapse each run of white space into one blank; raise `UserError` if the prompt is invalid.

    `what` names the prompt in the message.
    """
    if not isinstance(prompt, str):
        raise UserError(f"{what}: expected text, got {type(prompt).__name__}")
    cleaned = " ".join(prompt.split())
    if not cleaned:
        raise UserError(
            f'{what}: it is empty; say what to make, such as "a red mushroom with white spots"'
        )
    if cleaned.startswith("-"):
        raise UserError(
            f"{what}: it begins with -, as an option of a command does; leave the - out"
        )
    if len(cleaned) > MAX_CHARACTERS:
        raise UserError(
            f"{what}: expected at most {MAX_CHARACTERS} characters, got {len(cleaned)}; "
            "shorten it to one or two sentences"
        )
    # Cs are lone surrogates, which Python creates for command-line bytes that are not valid UTF-8.
    # Tokenizers fail on them.
    bad = next((c for c in cleaned if unicodedata.category(c) in ("Cc", "Cs")), None)
    if bad is not None:
        found = (
            "a byte that is not valid UTF-8"
            if unicodedata.category(bad) == "Cs"
            else f"the control character U+{ord(bad):04X}"
        )
        raise UserError(f"{what}: it holds {found} at position {cleaned.index(bad) + 1}; remove it")
    return cleaned


@dataclass(frozen=True)
class ViewPrompts:
    """A prompt with the words for each view direction, embedded once for a run."""

    prompt: str
    """The embedded prompt: checked, and shortened at its end if too long for the encoder."""
    negative_prompt: str
    views: tuple[str, ...]
    """`core.views.words.EXACT_VIEWS` for a prior trained with them, or `INSIDE_VIEWS` for cameras
    inside a scene; else the rough `VIEW_WORDS`."""
    directions: Float[Tensor, "V L E"]
    """Embeddings of the prompt for each of the V `views`, in their order."""
    negative: Float[Tensor, "1 L E"]
    """Embedding of the negative prompt."""
    empty: Float[Tensor, "1 L E"] | None
    """Embedding of the empty prompt; None if the negative prompt is empty."""
    blend: bool = False
    """Whether a view between two rough directions gets a weighted mean of their embeddings."""
    perp_neg: float = 0.0
    """Strength of Perp-Neg, a factor of `core.views.words.wrong_view_weights`; 0 is without it."""
    wrong: Float[Tensor, "2 L E"] | None = None
    """Embeddings of the prompt with "front" and "side", for Perp-Neg."""
    warnings: tuple[str, ...] = ()
    """Messages for the user about words that the prior does not know or that are cut off."""
    with_cameras: Callable[[Tensor, Cameras], Tensor] | None = None
    """The optional member of a prior that takes cameras, see `base.Prior`."""

    @staticmethod
    def of(
        prior: Prior,
        prompt: str,
        negative: str | None = None,
        suffix: str = VIEW_SUFFIX,
        blend: bool = False,
        perp_neg: float = 0.0,
        inside: bool = False,
    ) -> ViewPrompts:
        """Embed `prompt` with each of its view directions, and the negative prompt.

        `negative` None is the default of the prior. `suffix` "" gives all views the same text. A
        prior without `text` (see `base.Prior`) gets the prompt unchanged, with the rough view
        words. A prior that takes the cameras themselves gets no view words. `blend` and `perp_neg`
        are fields; exact directions are never blended. `inside`: the cameras are inside a scene. A
        prior that was not trained with directions inside a scene then gets none: a word such as
        "back" is about an object. Raises `UserError` if a prompt is invalid,
        for Perp-Neg with a multi-view prior, or for `blend` with a prior that takes cameras.
        """
        if perp_neg and prior.views > 1:
            raise UserError(
                f"perp_neg: the prior {prior.name} denoises {prior.views} views together, which "
                "agree on a front; set `perp_neg: 0`"
            )
        with_cameras = getattr(prior, "with_cameras", None)
        if with_cameras is not None:
            if blend:
                raise UserError(
                    f"blend_views: the prior {prior.name} is given the cameras and no view words, "
                    "so there is nothing to blend; set `blend_views: false`"
                )
            suffix = ""
        prompt = check_prompt(prompt)
        encoder: TextEncoder | TextEncoders | None = getattr(prior, "text", None)
        chosen = bool(negative)
        if negative is None:
            negative = default_negative(prior)
        elif negative:
            negative = check_prompt(negative, "negative prompt")
        warnings: list[str] = []
        views: tuple[str, ...] = VIEW_WORDS
        if encoder:
            tokenizer = encoder.tokenizer
            exact = INSIDE_VIEWS if inside else EXACT_VIEWS
            if getattr(prior, "exact_views", True) and knows_views(tokenizer, exact):
                views = exact
            if is_closed(tokenizer) and (unknown := unknown_words(tokenizer, prompt)):
                warnings.append(
                    f"prompt: the prior {prior.name} does not know {_quoted(unknown)}; "
                    f"{vocab_command(folder_name(prior))} lists the words that it knows"
                )
            if inside and is_closed(tokenizer) and views == VIEW_WORDS:
                warnings.append(
                    f"the prior {prior.name} was trained on single objects, not on places seen "
                    "from inside; expect an object in every direction, or leave out --mode scene"
                )
            fitted = fit(encoder.encoders, prompt, [suffix.format(view=view) for view in views])
            prompt = fitted.prompt
            warnings += fitted.messages(prior.name)
            if chosen:
                warnings += fit(encoder.encoders, negative).messages(prior.name, "negative prompt")
        if inside and views == VIEW_WORDS:
            suffix, perp_neg = "", 0.0
        wrong = VIEW_WORDS[:2] if perp_neg else ()
        texts = [prompt + suffix.format(view=view) for view in (*views, *wrong)]
        embedded = prior.embed([*texts, negative, *([""] if negative else [])])
        directions, others, negatives = embedded.tensor_split([len(views), len(texts)])
        return ViewPrompts(
            prompt,
            negative,
            views,
            directions,
            negatives[:1],
            negatives[1:] if negative else None,
            blend and views == VIEW_WORDS,
            perp_neg,
            others if perp_neg else None,
            tuple(warnings),
            with_cameras,
        )

    def at(self, cameras: Cameras) -> Condition:
        """Embeddings for each of B cameras, by its view direction."""
        count, device = len(cameras), self.directions.device
        if self.blend:
            weights = moved(view_weights(cameras), device)
            text = torch.einsum("bv,vle->ble", weights, self.directions)
        else:
            words = view_words if self.views == VIEW_WORDS else exact_views
            # Rows by number: an index that is copied to a GPU would wait for it.
            text = torch.stack([self.directions[self.views.index(v)] for v in words(cameras)])
        negative = self.negative.expand(count, -1, -1)
        empty = None if self.empty is None else self.empty.expand(count, -1, -1)
        if self.with_cameras is not None:
            text, negative = (self.with_cameras(x, cameras) for x in (text, negative))
            empty = None if empty is None else self.with_cameras(empty, cameras)
        if self.wrong is None:
            return Condition(text, negative, empty)
        turned = moved(self.perp_neg * wrong_view_weights(cameras).T, device)
        return Condition(
            text, negative, empty, self.wrong[:, None].expand(-1, count, -1, -1), turned
        )


def default_negative(prior: Prior) -> str:
    """The negative prompt of a run that names none."""
    encoder: TextEncoder | TextEncoders | None = getattr(prior, "text", None)
    return NEGATIVE if encoder and not is_closed(encoder.tokenizer) else ""


def folder_name(prior: Prior) -> str:
    """Name of the model folder of a prior, which is that of the prior unless code made it."""
    return getattr(getattr(prior, "source", None), "name", prior.name)


def vocab_command(prior: str) -> str:
    """Command that lists the words of a prior with a closed vocabulary."""
    return "`gs3d vocab`" if prior == "builtin" else f"`gs3d vocab --prior {prior}`"


def is_closed(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the vocabulary is a fixed list of words, like the built-in prior's."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and type(backend.model).__name__ == "WordLevel"


def knows_views(tokenizer: PreTrainedTokenizerBase, views: tuple[str, ...]) -> bool:
    """Whether the prior was trained with these exact view directions in its captions.

    Only a closed vocabulary shows this: it then has their words.
    """
    if not is_closed(tokenizer):
        return False
    texts = cast("list[list[int]]", tokenizer(list(views)).input_ids)
    return all(tokenizer.unk_token_id not in ids for ids in texts)


def vocabulary(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Sorted words of a closed vocabulary."""
    return sorted(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens))


def unknown_words(tokenizer: PreTrainedTokenizerBase, prompt: str) -> dict[str, list[str]]:
    """Words of the prompt that are not in a closed vocabulary.

    Each maps to at most three of the nearest known words, best first.
    """
    if not is_closed(tokenizer):
        return {}
    known = vocabulary(tokenizer)
    backend = cast(Any, tokenizer.backend_tokenizer)
    pieces: list[tuple[str, tuple[int, int]]] = backend.pre_tokenizer.pre_tokenize_str(
        backend.normalizer.normalize_str(prompt)
    )
    typed = dict.fromkeys(word for piece, _ in pieces for word in re.findall(r"[^\W_]+", piece))
    return {
        word: difflib.get_close_matches(word, known, n=3, cutoff=0.6)
        for word in typed
        if word not in set(known)
    }


def _quoted(unknown: dict[str, list[str]]) -> str:
    """Format unknown words: `"mushrom" (nearest: mushroom), "qzx"`."""
    return ", ".join(
        f'"{word}"' + (f" (nearest: {', '.join(near)})" if near else "")
        for word, near in unknown.items()
    )
