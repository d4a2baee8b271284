"""`gs3d vocab`: the words that a prior of the world knows."""

from dataclasses import dataclass

from gs3d.cli.output import shown
from gs3d.cli.parse import parse
from gs3d.core.errors import UserError

FORMS = (
    ("[PREFIX] a", None),
    ("[SIZE]", "sizes"),
    ("[MATERIAL]", "materials"),
    ("COLOR KIND", None),
    ("[with COLOR PATTERN]", "patterns"),
    ("[and a COLOR PART]", "parts"),
)
"""The grammar, and the words without which a piece of it says nothing: weights may be older than the world."""
EXAMPLES = (
    "a red mushroom with white spots",
    "a tall glossy blue mug with a yellow handle",
    "a red ball on a green table",
)
SHOWN = ("kinds", "colors", "patterns", "parts", "materials", "sizes", "relations", "prefixes")


@dataclass(frozen=True)
class Args:
    """List what a prompt for the built-in prior may contain."""

    prior: str = "builtin"
    """builtin, builtin-mv, or the folder of one that was trained on the world."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d vocab", argv)
    from gs3d.priors.builtin import known_words
    from gs3d.priors.loading.resolve import resolve
    from gs3d.world.captions import SYNONYMS, vocabulary, words

    known = known_words(resolve(args.prior, offline=True).folder)
    if known is None:
        raise UserError(f"--prior {args.prior}: reads any text, so there is no list of its words")
    entries = vocabulary(known)
    said = {word: others for word, others in SYNONYMS.items() if set(words(word)) <= known}
    synonyms = {
        word: [other for other in others if other in entries["synonyms"]]
        for word, others in said.items()
    }
    with shown():
        print("A prompt:", *(form for form, needs in FORMS if not needs or entries[needs]))
        if entries["relations"]:
            print("      or: [PREFIX] a COLOR KIND RELATION a COLOR KIND")
        print(
            "For example:",
            ", ".join(f'"{example}"' for example in EXAMPLES if set(words(example)) <= known)
            + "\n",
        )
        for name in SHOWN:
            if entries[name]:
                print(f"{name:<9}", ", ".join(entries[name]))
        if any(synonyms.values()):
            print(
                "synonyms ",
                ", ".join(
                    f"{word} = {' or '.join(others)}" for word, others in synonyms.items() if others
                ),
            )
        print('\nThe view ("45 degrees left 15 up view") is added for each camera.')
    return 0
