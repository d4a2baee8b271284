"""Prompt lists: text files with one prompt per line; blank lines and lines from # are skipped."""

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
    """Contents of a prompt list."""

    meanings: dict[str, Meaning | None]
    """Prompt → its parsed meaning, in file order; None for a prompt outside the procedural
    world."""
    repeated: int
    """Number of lines that repeat an earlier prompt."""


def shipped() -> list[str]:
    """Return the names of the lists that come with gs3d."""
    return sorted(
        p.name[:-4]
        for p in files("gs3d.configs").joinpath("prompts").iterdir()
        if p.name.endswith(".txt")
    )


def read_prompts(source: str, open_prompts: bool = False) -> Prompts:
    """Read a shipped list by name, or a text file by path.

    Raises `UserError` if the list cannot be read, if it is empty, or if a line is not a valid
    prompt; the error names the line. Prompts outside the procedural world are invalid unless
    `open_prompts` is set, because only a general CLIP model can score them.
    """
    text = _text(source)
    meanings: dict[str, Meaning | None] = {}
    repeated, invalid = 0, []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        prompt = check_prompt(line, f"{source} line {number}")
        if prompt in meanings:
            repeated += 1
        elif (meaning := parse_prompt(prompt)) or open_prompts:
            meanings[prompt] = meaning
        else:
            invalid.append(f"line {number} {prompt[:60]!r}")
    if invalid:
        listed = ", ".join(invalid[:3]) + (
            f" and {len(invalid) - 3} more" if len(invalid) > 3 else ""
        )
        raise UserError(
            f"{source}: prompts outside the procedural world cannot be graded: {listed};"
            " `gs3d vocab` shows the words that can be used,"
            " and --scorer takes a CLIP model for other prompts"
        )
    if not meanings:
        raise UserError(
            f"{source}: contains no prompt;"
            ' expected one per line, such as "a red mushroom with white spots"'
        )
    return Prompts(meanings, repeated)


def plain_others(prompts: Sequence[str]) -> list[str]:
    """Return a prompt for each kind in each color, except pairs that occur in `prompts`.

    These serve as wrong answers for R-precision. An excluded pair would describe the object of one
    of the prompts equally well.
    """
    things = [
        thing
        for meaning in map(parse_prompt, prompts)
        if meaning
        for thing in (meaning.thing, meaning.other)
        if thing
    ]
    used = {(thing.kind, thing.color) for thing in things}
    return [
        Thing(kind, color).phrase()
        for kind in KINDS
        for color in NAMED
        if (kind, color) not in used
    ]


def _text(source: str) -> str:
    if source in shipped():
        return files("gs3d.configs").joinpath(f"prompts/{source}.txt").read_text("utf-8")
    path = Path(source)
    try:
        if path.is_dir():
            raise UserError(
                f"prompts {source!r}: is a directory;"
                f" expected a text file or a list that comes with gs3d ({', '.join(shipped())})"
            )
        if not path.exists():
            raise UserError(
                f"prompts {source!r}: no such file;"
                f" the lists that come with gs3d are {', '.join(shipped())}"
            )
        return path.read_text("utf-8-sig")  # some editors start a file with a byte order mark
    except OSError as error:
        raise UserError(f"prompts {source!r}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"prompts {source!r}: not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
