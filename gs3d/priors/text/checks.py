"""Whether text encoders fit their tokenizers and the network, and tell prompts apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

from gs3d.core.errors import UserError, shown
from gs3d.priors.families.base import Width
from gs3d.priors.loading.parts import usable
from gs3d.priors.text.several import Encoder, TextEncoders, tokenizer_of

if TYPE_CHECKING:
    from gs3d.priors.network import TextEncoder

KNOWN_SHARE = 0.9
"""Smallest share of the words of a text encoder that its tokenizer must know."""
WORD_END = "</w>"
"""What a vocabulary of CLIP has after a piece that ends a word."""
WORDS = 50
"""Number of long words that a tokenizer is tried on."""
_AGAIN = "download the model again, or use another"


def check_widths(name: str, network: str, widths: list[Width]) -> None:
    """Raise `UserError` if the numbers of the text are not as many as the network takes.

    `name` begins the message; `network` names the network.
    """
    for width in widths:
        _compare(name, network, width)


def _compare(name: str, network: str, width: Width) -> None:
    if other := width.taken - {width.given}:
        parts, several = " and ".join(e.part for e in width.encoders), len(width.encoders) > 1
        raise UserError(
            f"{name}: its {parts} {'give' if several else 'gives'} {width.given} numbers for each "
            f"{width.per}, but {network} takes {' or '.join(map(str, sorted(other)))}; the "
            f"{'parts' if several else 'two'} are of different models"
        )


def try_text(name: str, text: TextEncoder | TextEncoders) -> torch.Tensor:
    """Embeddings of two prompts, [2, L, E].

    Raises `UserError` if an encoder does not fit its tokenizer, or gives numbers that are not
    finite or do not depend on the prompt.
    """
    prompts: list[str] = []
    for encoder in text.encoders:
        words = _try_vocabulary(name, encoder)
        _try_encoder(name, encoder, words)
        # Words of the first tokenizer are texts for all encoders.
        prompts = prompts or words
    with usable(f"{name}: its text encoders together"):
        return text.embed(prompts)


def _try_vocabulary(name: str, encoder: Encoder) -> list[str]:
    """Two words that the tokenizer of an encoder knows, if it fits the encoder."""
    part, tokenizer = encoder.part, encoder.tokenizer
    its, size = f"{name}: its {tokenizer_of(part)}", cast(int, encoder.model.config.vocab_size)
    # With transformers 5, a tokenizer without its files loads, and knows no words.
    words = tokenizer.get_vocab()
    largest = max(words.values(), default=0)
    if largest >= size:
        raise UserError(
            f"{its} numbers words up to {largest}, but its {part} knows "
            f"{size}; the two are of different models"
        )
    special = set(tokenizer.all_special_ids)
    plain = [i for i in words.values() if i not in special]
    if len(plain) < max(2, KNOWN_SHARE * size):
        raise UserError(
            f"{its} knows {len(words)} of the {size} words of its {part}; "
            "files of the tokenizer are missing; download the model again"
        )
    _try_words(its, encoder, words)
    prompts = _two_words(encoder, sorted(plain, reverse=True))
    if len(prompts) < 2:
        raise UserError(f"{its} knows no two words; {_AGAIN}")
    return prompts


def _try_encoder(name: str, encoder: Encoder, prompts: list[str]) -> None:
    """Check that the results for two prompts are finite and not the same."""
    part = encoder.part
    with usable(f"{name}: its {tokenizer_of(part)} with its {part}"):
        outputs = encoder.outputs(prompts)
    for what, output in zip(encoder.outputs_are, outputs, strict=False):
        if not output.isfinite().all():
            raise UserError(f"{name}: its {part} gives NaN or infinite numbers; {_AGAIN}")
        if torch.equal(output[0], output[1]):
            raise UserError(
                f"{name}: its {part} gives the same{what} for different prompts "
                f"({' and '.join(map(repr, prompts))}); {_AGAIN}"
            )


def _try_words(its: str, encoder: Encoder, words: dict[str, int]) -> None:
    """Check that a tokenizer that reads words in pieces reads the long words that it knows whole.

    Without its merges, which are in a file of their own, it reads letters.
    """
    known = [w.removesuffix(WORD_END) for w in words if w.endswith(WORD_END)]
    # Letters beyond ASCII are bytes there, which a text does not have.
    known = [w for w in known if w.isascii() and w.isalpha() and len(w) > 1]
    known = sorted(known, key=len, reverse=True)[:WORDS]
    special = set(encoder.tokenizer.all_special_ids)
    pieces: list[str] = []
    for word in known:
        with usable(its):
            ids = cast(Any, encoder.tokenizer).encode(word)
        if [i for i in ids if i not in special] != [words[word + WORD_END]]:
            pieces.append(word)
    if len(pieces) > len(known) / 2:
        raise UserError(
            f"{its} reads words that it knows in pieces, such as "
            f"{shown(pieces[0])}; its merges are missing; {_AGAIN}"
        )


def _two_words(encoder: Encoder, ids: list[int]) -> list[str]:
    """Two words that the tokenizer certainly knows, whatever the language.

    A vocabulary can hold a word twice, at the end of a text and within it.
    """
    words: list[str] = []
    for i in ids:
        word = str(cast(Any, encoder.tokenizer).decode([i])).strip().lower()
        if word.isalnum() and word not in words:
            words.append(word)
        if len(words) == 2:
            break
    return words
