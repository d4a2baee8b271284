"""Files of prompts: one a line, blank lines and those that begin with # left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from gs3d.core.errors import UserError
from gs3d.priors.prompts import check_prompt
from gs3d.world.captions import Meaning, Thing
from gs3d.world.colors import NAMED
from gs3d.world.kinds import KINDS
from gs3d.world.prompt_parser import parse_prompt


@dataclass(frozen=True)
class Prompts:
    """What a file holds."""

    meanings: dict[str, Meaning | None]
    """Prompt → what it says, in the order of the file; None for an open prompt."""
    repeated: int
    """Lines that said the same as one before."""


def shipped() -> list[str]:
    """Names of the lists that come with gs3d."""
    return sorted(
        p.name[:-4]
        for p in files("gs3d.configs").joinpath("prompts").iterdir()
        if p.name.endswith(".txt")
    )


def read_prompts(source: str, open_prompts: bool = False) -> Prompts:
    """A shipped list by its name, or a file. `UserError` names the line of a prompt that cannot be used.

    A prompt that the world has no picture of is one, unless `open_prompts`: then somebody else marks it.
    """
    text = _text(source)
    meanings: dict[str, Meaning | None] = {}
    repeated, strange = 0, []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        prompt = check_prompt(line, f"{source} line {number}")
        if prompt in meanings:
            repeated += 1
        elif (meaning := parse_prompt(prompt)) or open_prompts:
            meanings[prompt] = meaning
        else:
            strange.append(f"line {number} {prompt[:60]!r}")
    if strange:
        listed = ", ".join(strange[:3]) + (
            f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        )
        advice = (
            "`gs3d vocab` shows what can be said, and --scorer takes a CLIP model for other prompts"
        )
        raise UserError(
            f"{source}: cannot be graded, since the world has no picture of it: {listed}; {advice}"
        )
    if not meanings:
        raise UserError(
            f'{source}: holds no prompt; expected one a line, such as "a red mushroom with white spots"'
        )
    return Prompts(meanings, repeated)


def plain_others(prompts: Sequence[str]) -> list[str]:
    """Every kind of the world in every color, but for those that an object of one of `prompts` may be called with as much right."""
    things = [
        thing
        for meaning in map(parse_prompt, prompts)
        if meaning
        for thing in (meaning.thing, meaning.other)
        if thing
    ]
    said = {(thing.kind, thing.color) for thing in things}
    return [
        Thing(kind, color).phrase()
        for kind in KINDS
        for color in NAMED
        if (kind, color) not in said
    ]


def _text(source: str) -> str:
    if source in shipped():
        return files("gs3d.configs").joinpath(f"prompts/{source}.txt").read_text("utf-8")
    path = Path(source)
    try:
        if path.is_dir():
            raise UserError(
                f"prompts {source!r}: is a folder; expected a text file or a list that comes with gs3d ({', '.join(shipped())})"
            )
        if not path.exists():
            raise UserError(
                f"prompts {source!r}: no such file; lists that come with gs3d are {', '.join(shipped())}"
            )
        return path.read_text("utf-8-sig")  # some editors begin a file with a mark
    except OSError as error:
        raise UserError(f"prompts {source!r}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"prompts {source!r}: not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
