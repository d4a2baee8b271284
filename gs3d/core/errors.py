"""The exception for errors that the user can fix."""

import re

FLAG = re.compile(r"`[^`]*`|(?<![\w-])--([a-z][a-z-]*)")
"""Quoted commands, which stay as they are, and flags of the command line."""


class UserError(ValueError):
    """Invalid input, or a fault outside the program such as a full disk or a missing file.

    The message names the input, what was expected, and what to do next. Raise it with the flags of
    the command line, such as --minutes: `for_command_line` shows them as they are, and `str()`
    shows the arguments of the Python API. Commands in backquotes keep their flags in both.
    """

    @property
    def for_command_line(self) -> str:
        """The message with flags."""
        return super().__str__()

    def __str__(self) -> str:
        return with_arguments(super().__str__())


def with_arguments(text: str) -> str:
    """`text` with flags of the command line as arguments of Python: --sh-degree as sh_degree."""
    return FLAG.sub(lambda found: found[1].replace("-", "_") if found[1] else found[0], text)
