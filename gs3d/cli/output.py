"""Lines on standard output and errors on standard error. A failure to print never ends a run."""

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterator

from gs3d.core.errors import UserError, printable

LEAST_COLUMNS = 20
"""Narrowest terminal that help and progress are laid out for."""


def accept_any_text() -> None:
    """Make standard output and error escape what their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def accept_any_width() -> None:
    """Let texts be laid out for at least `LEAST_COLUMNS`. Narrower, tyro never ends."""
    if shutil.get_terminal_size().columns < LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(LEAST_COLUMNS)


def say(line: str) -> None:
    """Print a line.

    If standard output cannot be written (a closed pipe, a full disk), nothing more is printed and
    the run continues.
    """
    try:
        print(printable(line), flush=True)
    except OSError:
        silence()
    except RuntimeError:
        # A signal arrived during a write, and its handler also prints. Python does not allow that;
        # the handler's line is lost.
        return


def fault(line: str) -> None:
    """Print an error as one line on standard error, without the line breaks in `line`."""
    # If standard error cannot be written either, the exit status alone reports the error.
    with contextlib.suppress(OSError):
        print(printable(" ".join(line.split())), file=sys.stderr, flush=True)


def silence() -> None:
    """Discard all further standard output.

    This redirects the file descriptor itself: Python flushes its buffer once more at exit and would
    complain if that failed.
    """
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError, AttributeError):
        # Standard output has no descriptor: a test or a notebook replaced it.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - stays open until the process ends


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Context for a command that only prints.

    A closed pipe ends the block without an error; any other failed write, such as on a full disk,
    raises `UserError`. The buffer is flushed here, because at exit Python could only complain.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        silence()
        if not isinstance(error, BrokenPipeError):
            raise UserError(
                f"standard output cannot be written ({error.strerror}); "
                "free some space or choose another file"
            ) from None
