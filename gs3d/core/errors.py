"""The exception for errors that the user can fix, and words for its messages."""

import difflib
import math
import re
from collections.abc import Collection
from pathlib import Path

FLAG = re.compile(r"`[^`]*`|(?<![\w-])--([a-z][a-z-]*)")
"""Quoted commands, which stay as they are, and flags of the command line."""
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tabs and line feeds, and marks that turn the direction of writing."""
BREAKS = re.compile(r"[ \t]*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+[ \t]*")
TYPE_WORDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}
"""Type of a setting or an argument -> what a message calls it."""


class UserError(ValueError):
    """Invalid input, or a fault outside the program such as a full disk or a missing file.

    The message names the input, what was expected, and what to do next. Raise it with the flags of
    the command line, such as --minutes: `for_command_line` shows them as they are, and `str()`
    shows the arguments of the Python API. Commands in backquotes keep their flags in both.
    """

    def __init__(self, text: object = "", output: str = "") -> None:
        """`text` becomes one line that can be printed, because names from files may hold line
        breaks and commands to a terminal. `output` of another program follows in its own lines."""
        line = printable(BREAKS.sub(" ", str(text)))
        super().__init__(f"{line}\n{output}" if output else line)

    @property
    def for_command_line(self) -> str:
        """The message with flags."""
        return super().__str__()

    def __str__(self) -> str:
        return with_arguments(super().__str__())


def printable(text: str) -> str:
    """`text` for a terminal, with escapes such as \\x1b in place of the `UNSEEN`.

    A name from a file could move the cursor, change the clipboard or show a line in another order.
    """
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shown(value: object, longest: int = 40) -> str:
    """A value from a file for a message: on one line, of at most `longest` characters."""
    try:
        text = " ".join(str(value).split())
    # The parser of JSON accepts deeper nesting than str() does, and longer integers.
    except (RecursionError, ValueError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= longest else text[: longest - 1] + "…"


def with_arguments(text: str) -> str:
    """`text` with flags of the command line as arguments of Python: --sh-degree as sh_degree."""
    return FLAG.sub(lambda found: found[1].replace("-", "_") if found[1] else found[0], text)


def take_smaller(value: object, known: Collection[object]) -> str:
    """The end of a message about a `value` that is none of the numbers among `known`: "; take 8"
    with the next smaller one, or the smallest. "" if the value is no number above 0."""
    numbers = [n for n in known if isinstance(n, int)]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return ""
    try:
        given = float(value)
    except (ValueError, OverflowError):
        return ""
    if not numbers or not (math.isfinite(given) and given > 0):
        return ""
    return f"; take {max((n for n in numbers if n <= given), default=min(numbers))}"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """The end of a message about an unknown `word`: "; did you mean 'x'?" with the one or two
    nearest names, or "" if none is near. Upper case does not matter."""
    word = word.lower()
    near = [word] if word in known else difflib.get_close_matches(word, known, 2)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
