"""`gs3d vocab`: the words the built-in prior knows."""

from dataclasses import dataclass

from gs3d.cli.output import shown
from gs3d.cli.parse import parse

SHOWN = ("kinds", "colours", "patterns", "parts", "materials", "sizes", "relations", "prefixes")


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
    listed = {name: sayable(entries[name]) for name in SHOWN}

    def slot(name: str, form: str) -> str:
        return form if listed[name] else ""

    with shown():
        front = "A prompt: [PREFIX] a " + slot("sizes", "[SIZE] ") + slot("materials", "[MATERIAL] ") + "COLOUR KIND"
        print(front + slot("patterns", " [with COLOUR PATTERN]") + slot("parts", " [and a COLOUR PART]"))
        if listed["relations"]:
            print("      or: [PREFIX] a COLOUR KIND RELATION a COLOUR KIND")
        print("For example:", ", ".join(f'"{example}"' for example in sayable(examples)), "\n")
        for name in SHOWN:
            if listed[name]:
                print(f"{name:<9}", ", ".join(listed[name]))
        if same := [f"{word} = {' or '.join(others)}" for word, others in synonyms.items() if others]:
            print("synonyms ", ", ".join(same))
        print('\nThe view ("45 degrees left 15 up view") is added for each camera.')
    return 0
