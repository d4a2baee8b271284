"""`gs3d vocab`: the words the built-in prior knows."""

from dataclasses import dataclass

from gs3d.cli.output import shown
from gs3d.cli.parse import parse


@dataclass(frozen=True)
class Args:
    """List what a prompt for the built-in prior may contain."""


def run(argv: list[str]) -> int:
    parse(Args, "gs3d vocab", argv)
    from gs3d.priors.builtin import known_words
    from gs3d.world.captions import SYNONYMS, Thing, vocabulary, words

    known = known_words()

    def sayable(texts: list[str]) -> list[str]:
        return [text for text in texts if set(words(text)) <= known]

    examples = [
        Thing("mushroom", "red", "spots", "white").phrase(),
        Thing("mug", "blue", part="handle", part_colour="yellow", material="glossy", size="tall").phrase(),
        "a red ball on a green table",
    ]
    entries = vocabulary()
    synonyms = {word: sayable(list(others)) for word, others in SYNONYMS.items()}
    with shown():
        print("A prompt: [PREFIX] a [SIZE] [MATERIAL] COLOUR KIND [with COLOUR PATTERN] [and a COLOUR PART]")
        print("For example:", ", ".join(f'"{example}"' for example in sayable(examples)), "\n")
        for name in ("kinds", "colours", "patterns", "parts", "materials", "sizes", "relations", "prefixes"):
            if listed := sayable(entries[name]):
                print(f"{name:<9}", ", ".join(listed))
        if same := [f"{word} = {' or '.join(others)}" for word, others in synonyms.items() if others]:
            print("synonyms ", ", ".join(same))
        print('\nThe view ("45 degrees left 15 up view") is added for each camera.')
    return 0
