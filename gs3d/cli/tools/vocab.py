"""`gs3d vocab`: the words that a prior trained on the procedural world knows."""

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
"""Elements of a prompt, each with the list of words that it needs. An element is left out if the
prior knows none of them: its weights may be older than the world."""
EXAMPLES = (
    "a red mushroom with white spots",
    "a tall glossy blue mug with a yellow handle",
    "a red ball on a green table",
)
SHOWN = ("kinds", "colors", "patterns", "parts", "materials", "sizes", "relations", "prefixes")


@dataclass(frozen=True)
class Args:
    """List the words that a prompt for the built-in prior can contain, and their order."""

    prior: str = "builtin"
    """builtin, or the folder of a prior that was trained on the procedural world."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d vocab", argv)
    from gs3d.priors.builtin import known_words
    from gs3d.priors.loading.resolve import resolve
    from gs3d.world.captions import SYNONYMS, vocabulary, words

    known = known_words(resolve(args.prior, offline=True).folder)
    if known is None:
        raise UserError(f"--prior {args.prior}: accepts any text, so there is no list of its words")
    entries = vocabulary(known)
    synonyms = {
        word: [other for other in others if other in entries["synonyms"]]
        for word, others in SYNONYMS.items()
        if set(words(word)) <= known
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
        print('\ngs3d adds the view of each camera ("45 degrees left 15 up view") to the prompt.')
    return 0
