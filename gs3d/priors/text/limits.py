"""Prompts that are longer than text encoders read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gs3d.priors.text.several import Encoder


@dataclass(frozen=True)
class Fitted:
    """A prompt that all encoders read, and what was lost."""

    prompt: str
    cut: str = ""
    """Words at its end that were cut off."""
    unread: dict[str, str] = field(default_factory=dict[str, str])
    """Part → words that this encoder alone does not read."""

    def messages(self, name: str, what: str = "prompt") -> list[str]:
        """For the user of the prior `name`; `what` names the prompt."""
        lines = [f'{what}: too long for the prior {name}; it does not read "{self.cut}"']
        return lines[: bool(self.cut)] + [
            f"{what}: too long for the {part} of the prior {name}, which gives a summary of it; it "
            f'does not read "{words}"'
            for part, words in self.unread.items()
        ]


def fit(encoders: Sequence[Encoder], prompt: str, suffixes: Sequence[str] = ("",)) -> Fitted:
    """Drop words at the end of a prompt until all encoders read it with the longest suffix.

    An encoder whose result is a summary only (`Encoder.is_summary`) decides nothing.
    """
    cut: list[str] = []
    longest = {e.part: max(suffixes, key=e.length) for e in encoders}
    for encoder in encoders:
        if not encoder.is_summary:
            end = longest[encoder.part]
            prompt, words = shortened(encoder.length, prompt, end, encoder.max_tokens)
            cut = [words, *cut]
    unread = {
        e.part: shortened(e.length, prompt + longest[e.part], "", e.max_tokens)[1]
        for e in encoders
        if e.is_summary
    }
    words = " ".join(filter(None, cut))
    return Fitted(prompt, words, {part: lost for part, lost in unread.items() if lost})


def shortened(
    length: Callable[[str], int], prompt: str, suffix: str, max_tokens: int
) -> tuple[str, str]:
    """Drop words at the end of the prompt until prompt + suffix has at most `max_tokens` tokens.

    `length` counts the tokens of a text. Returns (kept prompt, dropped words). At least one word is
    kept. The encoder itself would cut off the direction words first.
    """
    words = prompt.split(" ")
    kept = len(words)
    while kept > 1 and length(" ".join(words[:kept]) + suffix) > max_tokens:
        kept -= 1
    return " ".join(words[:kept]), " ".join(words[kept:])
