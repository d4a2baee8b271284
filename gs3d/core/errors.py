"""Errors that are the user's to mend: one line that names the thing, what was expected, and what to do next."""


class UserError(Exception):
    """Bad input or a fault outside the program (a full disk, a missing file).

    The command line prints the message as one line and exits with status 2; from Python it is an ordinary exception.
    """
