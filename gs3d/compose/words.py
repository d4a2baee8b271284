"""Scenes from one sentence: "a red ball on a green table"."""

import re
from collections.abc import Sequence

from gs3d.compose.scene_file import MOST_OBJECTS, Entry, SceneFile
from gs3d.core.errors import UserError
from gs3d.priors.prompts import check_prompt
from gs3d.runs.folders import slug
from gs3d.world.captions import PREFIXES, words
from gs3d.world.places.sizes import radius_of
from gs3d.world.prompt_parser import kinds_in

RELATION_PHRASES = {
    "on top of": "stands_on",
    "on": "stands_on",
    "next to": "beside",
    "beside": "beside",
    "in front of": "in_front_of",
    "behind": "behind",
}
"""Words between two objects → where the first is, relative to the second."""
PHRASE = re.compile(rf"\s+({'|'.join(RELATION_PHRASES)})\s+", re.IGNORECASE)
PREFIX = re.compile(rf"({'|'.join(PREFIXES)})\s+", re.IGNORECASE)
OF_UNKNOWN_SIZE = 0.6
"""Size of the first of two objects, in sizes of the second, if they are of no kind that the world
knows; as in `gs3d.world.sample`."""


def scene_of(text: str) -> SceneFile:
    """The objects of a sentence, the one that the others lean on first, and the whole.

    Their sizes are as the procedural world has them beside each other. A prefix such as "a DSLR
    photo of" is given to each.

    Raises:
        UserError: There is no relation of `RELATION_PHRASES` between two objects.
    """
    text = check_prompt(text)
    prefix = match[0] if (match := PREFIX.match(text)) else ""
    things = PHRASE.split(text[len(prefix) :])
    prompts, relations = things[::2], [RELATION_PHRASES[r.lower()] for r in things[1::2]]
    if len(prompts) < 2 or not all(map(str.strip, prompts)):
        raise UserError(
            f"{text!r}: expected two objects with one of {', '.join(RELATION_PHRASES)} between "
            "them, or a scene file that ends in .yaml"
        )
    if len(prompts) > MOST_OBJECTS:
        raise UserError(f"expected at most {MOST_OBJECTS} objects, got {len(prompts)}")
    sizes = _sizes(prompts)
    entries: list[Entry] = []
    for i in reversed(range(len(prompts))):
        relation = relations[i] if entries else None
        other = entries[-1].name if entries else None
        entries.append(
            Entry(
                _name(prompts[i], [entry.name for entry in entries]),
                prompt=prefix + prompts[i],
                size=sizes[i],
                relation=relation,
                other=other,
            )
        )
    return SceneFile(tuple(entries), text)


def _sizes(prompts: Sequence[str]) -> list[float]:
    """Radius of each object; the largest has 1."""
    sizes = [_size(prompt) for prompt in prompts]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return [OF_UNKNOWN_SIZE ** (len(sizes) - 1 - i) for i in range(len(sizes))]
    return [round(size / max(known), 2) for size in known]


def _size(prompt: str) -> float | None:
    kinds = kinds_in(prompt, set(words(prompt)))
    return radius_of(kinds.pop()) if len(kinds) == 1 else None


def _name(prompt: str, taken: Sequence[str]) -> str:
    name, number = slug(prompt), 2
    while name in taken:
        name, number = f"{slug(prompt)}-{number}", number + 1
    return name
