"""Prompt + camera → condition: checking what the user typed, the words for the view, the negative prompt."""

import difflib
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.errors import UserError
from gs3d.core.views import EXACT_VIEWS, VIEW_WORDS, exact_views, view_words
from gs3d.priors.base import Condition, Prior

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from gs3d.priors.network import TextEncoder

MAX_CHARACTERS = 1000
NEGATIVE = "ugly, blurry, low quality, oversaturated, deformed, cropped, text, watermark"
"""Negative prompt of a prior with an open vocabulary; one with a closed vocabulary was trained on the empty one alone."""
VIEW_SUFFIX = ", {view} view"
"""What is put behind the prompt for each view of `core.views`; the built-in prior's captions end the same way."""


def check_prompt(prompt: Any, what: str = "prompt") -> str:
    """The prompt with runs of white space made one blank, or a UserError."""
    if not isinstance(prompt, str):
        raise UserError(f"{what}: expected text, got {type(prompt).__name__}")
    cleaned = " ".join(prompt.split())
    if not cleaned:
        raise UserError(
            f'{what}: it is empty; say what to make, such as "a red mushroom with white spots"'
        )
    if len(cleaned) > MAX_CHARACTERS:
        raise UserError(
            f"{what}: expected at most {MAX_CHARACTERS} characters, got {len(cleaned)}; a sentence or two is all a prior reads"
        )
    # Cs are lone surrogates: what Python makes of bytes on the command line that are no valid text. Tokenizers fail on them.
    bad = next((c for c in cleaned if unicodedata.category(c) in ("Cc", "Cs")), None)
    if bad is not None:
        found = (
            "bytes that are no UTF-8 text"
            if unicodedata.category(bad) == "Cs"
            else f"the control character U+{ord(bad):04X}"
        )
        raise UserError(f"{what}: it holds {found} at position {cleaned.index(bad) + 1}; remove it")
    return cleaned


@dataclass(frozen=True)
class ViewPrompts:
    """A prompt seen from each direction that the prior has words for, embedded once a run."""

    prompt: str
    """As it was embedded: checked, its tail cut off if it was too long for the encoder."""
    negative_prompt: str
    views: tuple[str, ...]
    """`core.views.EXACT_VIEWS` for a prior that was taught them, else the rough `VIEW_WORDS`."""
    directions: Tensor
    """[V, L, E], in the order of `views`."""
    negative: Tensor
    """[1, L, E]."""
    warnings: tuple[str, ...]
    """Lines for the user about words that the prior will not see."""

    @staticmethod
    def of(
        prior: Prior, prompt: str, negative: str | None = None, suffix: str = VIEW_SUFFIX
    ) -> "ViewPrompts":
        """`negative` None takes the prior's own; `suffix` "" asks for the same picture from everywhere."""
        prompt = check_prompt(prompt)
        text: TextEncoder | None = getattr(
            prior, "text", None
        )  # only priors read from a folder have words to check
        if negative is None:
            negative = NEGATIVE if text and not is_closed(text.tokenizer) else ""
        elif negative:
            negative = check_prompt(negative, "negative prompt")
        warnings, views = [], VIEW_WORDS
        if text:
            if knows_exact_views(text.tokenizer):
                views = EXACT_VIEWS
            if is_closed(text.tokenizer) and (unknown := unknown_words(text.tokenizer, prompt)):
                shown = f"{vocab_command(prior.name)} shows the words it knows"
                warnings.append(
                    f"prompt: the prior {prior.name} does not know {_listed(unknown)}; {shown}"
                )
            longest = max(
                (suffix.format(view=view) for view in views),
                key=lambda s: _length(text.tokenizer, s),
            )
            prompt, cut = fitted(text.tokenizer, prompt, longest, text.max_tokens)
            if cut:
                warnings.append(
                    f'prompt: too long for the prior {prior.name}; it will not see "{cut}"'
                )
        texts = [prompt + suffix.format(view=view) for view in views]
        embedded = prior.embed([*texts, negative])
        return ViewPrompts(prompt, negative, views, embedded[:-1], embedded[-1:], tuple(warnings))

    def at(self, cameras: Cameras) -> Condition:
        """What each of B cameras is asked to show."""
        named = exact_views if self.views == EXACT_VIEWS else view_words
        index = torch.tensor(
            [self.views.index(view) for view in named(cameras)], device=self.directions.device
        )
        return Condition(self.directions[index], self.negative.expand(len(cameras), -1, -1))


def fitted(
    tokenizer: "PreTrainedTokenizerBase", prompt: str, suffix: str, max_tokens: int
) -> tuple[str, str]:
    """(the prompt, what was cut off its end) so that prompt + suffix fits: the encoder would cut the direction word first."""
    words = prompt.split(" ")
    kept = len(words)
    while kept > 1 and _length(tokenizer, " ".join(words[:kept]) + suffix) > max_tokens:
        kept -= 1
    return " ".join(words[:kept]), " ".join(words[kept:])


def vocab_command(prior: str) -> str:
    """What lists the words of a prior with a closed vocabulary."""
    return "`gs3d vocab`" if prior == "builtin" else f"`gs3d vocab --prior {prior}`"


def is_closed(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether the tokenizer knows whole words only, as the built-in prior's does."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and type(backend.model).__name__ == "WordLevel"


def knows_exact_views(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether the prior's captions named the angle: only a closed vocabulary can say so, and then it holds the words for it."""
    return is_closed(tokenizer) and all(
        tokenizer.unk_token_id not in ids for ids in tokenizer(list(EXACT_VIEWS)).input_ids
    )


def vocabulary(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """The words of a closed vocabulary, sorted."""
    return sorted(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens))


def unknown_words(tokenizer: "PreTrainedTokenizerBase", prompt: str) -> dict[str, list[str]]:
    """Word of the prompt that a closed vocabulary lacks → the nearest words it has, best first, three at most."""
    known = vocabulary(tokenizer)
    backend = tokenizer.backend_tokenizer
    pieces = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(prompt))
    typed = dict.fromkeys(word for piece, _ in pieces for word in re.findall(r"[^\W_]+", piece))
    return {
        word: difflib.get_close_matches(word, known, n=3, cutoff=0.6)
        for word in typed
        if word not in set(known)
    }


def _listed(unknown: dict[str, list[str]]) -> str:
    """E.g. `"mushrom" (nearest: mushroom), "qzx"`."""
    return ", ".join(
        f'"{word}"' + (f" (nearest: {', '.join(near)})" if near else "")
        for word, near in unknown.items()
    )


def _length(tokenizer: "PreTrainedTokenizerBase", text: str) -> int:
    return len(tokenizer(text, verbose=False).input_ids)
