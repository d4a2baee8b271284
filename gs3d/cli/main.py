"""`gs3d`: picks the command, and turns a `UserError` into one line and exit status 2."""

import sys

from gs3d.cli.output import fault, say
from gs3d.core.errors import UserError

COMMANDS = {
    "generate": ("runs", "make splats or a mesh from a prompt"),
    "evaluate": ("runs", "make and grade a list of prompts, and compare methods"),
    "compare": ("runs", "show runs side by side, and how their settings differ"),
    "mesh": ("runs", "make a closed, textured mesh from splats"),
    "view": ("assets", "show splats or a mesh in the browser"),
    "render": ("assets", "render splats or a mesh as an image or a turntable"),
    "convert": ("assets", "convert splats from one file format to another"),
    "info": ("assets", "print statistics of a splat file or a mesh, and its faults"),
    "clean": ("assets", "crop, filter, decimate, center, rescale and rotate splats"),
    "reference": ("tools", "export a reference object for a prompt, as a mesh or an image"),
    "vocab": ("tools", "list the words that the built-in prior knows"),
    "doctor": ("tools", "check this machine and say what to fix"),
}
"""Command -> its package below `gs3d.cli`, and what it does."""
OLD_NAMES = {"truth": "reference"}
ON = {
    "generate": "; add --resume to the same command to go on",
    "evaluate": "; the same command goes on",
}
"""What Ctrl-C is answered with."""
HELP = "usage: gs3d COMMAND ...\n\n" + "\n".join(
    f"  {name:<10}{what}" for name, (_, what) in COMMANDS.items()
)
HELP += "\n\n  gs3d COMMAND --help    every option of a command\n  gs3d --version\n"


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit status. Commands are imported only when asked for: `gs3d --help` should not wait for torch."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        say(HELP.rstrip())
        return 0 if argv else 2
    if argv[0] == "--version":
        from importlib.metadata import version

        say(f"gs3d {version('gs3d')}")
        return 0
    command = OLD_NAMES.get(argv[0], argv[0])
    if command not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(argv[0], COMMANDS, 1, 0.4)
        fault(
            f"gs3d: unknown command {argv[0]!r}; {f'did you mean {near[0]}?' if near else 'see gs3d --help'}"
        )
        return 2
    return _run(command, argv[1:])


def _run(command: str, argv: list[str]) -> int:
    from importlib import import_module

    from gs3d.core.runtime.openmp import spin_briefly

    spin_briefly()
    try:
        return import_module(f"gs3d.cli.{COMMANDS[command][0]}.{command}").run(argv)
    except UserError as error:
        fault(f"gs3d: {error}")
        return 2
    except KeyboardInterrupt:
        fault("gs3d: interrupted" + ON.get(command, ""))
        return 130


if __name__ == "__main__":
    sys.exit(main())
