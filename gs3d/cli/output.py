"""Lines on standard output and one-line faults on standard error, neither of which may end a run."""

import contextlib
import os
import sys
from collections.abc import Iterator

from gs3d.core.errors import UserError


def say(line: str) -> None:
    """Print a line; once standard output cannot be written (a closed pipe, a full disk), print nothing more and go on."""
    try:
        print(line, flush=True)
    except OSError:
        silence()
    except RuntimeError:
        # A signal came while a line was being written, and its handler wants to say something too: Python refuses. That line is lost.
        return


def fault(line: str) -> None:
    """One line on standard error, whatever line breaks `line` holds."""
    with contextlib.suppress(OSError):  # with nobody to read it, the exit status has to do
        print(" ".join(line.split()), file=sys.stderr, flush=True)


def silence() -> None:
    """Send the rest of standard output nowhere.

    The file descriptor itself is turned: Python flushes its buffer once more when it ends, and would complain if that failed.
    """
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (
        OSError,
        ValueError,
        AttributeError,
    ):  # no descriptor: a test or a notebook put something else in its place
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - open until the process ends


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Around the printing of a command that makes nothing else. A reader that leaves has what it wanted; a full disk is a `UserError`.

    The buffer is emptied here, while a failure can be dealt with: when the process ends, Python could only complain.
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
                f"standard output cannot be written ({error.strerror}); free some space or choose another file"
            ) from None
