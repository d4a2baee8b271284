"""`gs3d`: picks the command, and turns a `UserError` into one line and exit status 2."""

import sys

from gs3d.cli.output import fault, say
from gs3d.core.errors import UserError

COMMANDS = {
    "generate": "make splats from a prompt",
    "evaluate": "make and grade a list of prompts, and compare methods",
    "view": "look at splats or a mesh in the browser",
    "render": "draw a splat file as a picture or a turntable",
    "compare": "runs side by side, and what is different about them",
    "mesh": "a closed, textured mesh from any splats",
    "convert": "splats from one file format to another",
    "info": "what a splat file or a mesh is like, and whether it is sound",
    "clean": "remove stray splats, crop, thin out, centre, rescale and turn",
    "truth": "an object that a prompt is true of, as a mesh or a picture",
    "vocab": "words that the built-in prior knows",
    "doctor": "check this machine, and say what to do",
}
ON = {"generate": "; add --resume to the same command to go on", "evaluate": "; the same command goes on"}
"""What Ctrl-C is answered with."""
HELP = "usage: gs3d COMMAND ...\n\n" + "\n".join(f"  {name:<10}{what}" for name, what in COMMANDS.items())
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
    if argv[0] not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(argv[0], COMMANDS, 1, 0.4)
        fault(f"gs3d: unknown command {argv[0]!r}; {f'did you mean {near[0]}?' if near else 'see gs3d --help'}")
        return 2
    return _run(argv[0], argv[1:])


def _run(command: str, argv: list[str]) -> int:
    from importlib import import_module

    from gs3d.core.openmp import spin_briefly

    spin_briefly()
    try:
        return import_module(f"gs3d.cli.{command}").run(argv)
    except UserError as error:
        fault(f"gs3d: {error}")
        return 2
    except KeyboardInterrupt:
        fault("gs3d: interrupted" + ON.get(command, ""))
        return 130


if __name__ == "__main__":
    sys.exit(main())
