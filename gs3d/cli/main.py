"""Entry point of `gs3d`: runs one command. A `UserError` becomes one line and exit status 2."""

import sys

from gs3d.cli.output import accept_any_text, accept_any_width, fault, say
from gs3d.core.errors import UserError

COMMANDS = {
    "generate": ("runs", "generate splats or a mesh from a text prompt"),
    "batch": ("runs", "generate many from a list, several at once"),
    "evaluate": ("runs", "generate from a list of prompts, score the results, compare methods"),
    "compare": ("runs", "show runs side by side, and how their settings differ"),
    "compose": ("runs", "put several objects into one scene, from files or prompts"),
    "mesh": ("runs", "convert splats to a closed, textured mesh"),
    "open": ("assets", "show a result in the browser, as one page"),
    "view": ("assets", "show splats or a mesh in the browser, with controls"),
    "render": ("assets", "render splats or a mesh as an image or a turntable"),
    "convert": ("assets", "convert splats to another file format"),
    "info": ("assets", "print statistics of splats or a mesh, and any problems"),
    "clean": ("assets", "crop, filter, decimate, center, rescale and rotate splats"),
    "reference": ("tools", "export a reference object for a prompt, as a mesh or an image"),
    "vocab": ("tools", "list the words that the built-in prior knows"),
    "doctor": ("tools", "check this machine, and say how to fix problems"),
}
"""Command -> its package in `gs3d.cli`, and its description."""
OLD_NAMES = {"truth": "reference"}
HOW_TO_CONTINUE = {
    "generate": "; add --resume to the same command to continue",
    "evaluate": "; the same command continues",
    "batch": "; the same command continues",
    "compose": "; the same command continues",
}
"""Command -> the end of its message after Ctrl-C."""
HELP = "usage: gs3d COMMAND ...\n\n"
HELP += "Generate 3D Gaussian splats and meshes from text prompts, and work with the results.\n\n"
HELP += "\n".join(f"  {name:<11}{description}" for name, (_, description) in COMMANDS.items())
HELP += "\n\n  gs3d COMMAND --help    show the options of a command\n"
HELP += "  gs3d --completion bash|zsh|fish    a script that completes options; to use it:\n"
HELP += '                         eval "$(gs3d --completion bash)"\n'
HELP += "  gs3d --version         show the version, and those of Python and torch\n"


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status.

    A command is imported when it runs, so that `gs3d --help` does not wait for torch.
    """
    argv = sys.argv[1:] if argv is None else argv
    accept_any_text()
    accept_any_width()
    if not argv or argv[0] in ("-h", "--help"):
        say(HELP.rstrip())
        return 0 if argv else 2
    if argv[0] == "--version":
        from gs3d.cli.version import version_line

        say(version_line())
        return 0
    if argv[0] == "--completion":
        from gs3d.cli.completion import run

        return run(argv[1:])
    command = OLD_NAMES.get(argv[0], argv[0])
    if command not in COMMANDS:
        import difflib

        nearest = difflib.get_close_matches(argv[0], COMMANDS, 1, 0.4)
        hint = f"did you mean {nearest[0]}?" if nearest else "see gs3d --help"
        fault(f"gs3d: unknown command {argv[0]!r}; {hint}")
        return 2
    return _run(command, argv[1:])


def _run(command: str, argv: list[str]) -> int:
    from importlib import import_module

    from gs3d.core.runtime.openmp import keep_to_quota, spin_briefly

    spin_briefly()
    keep_to_quota()
    try:
        return import_module(f"gs3d.cli.{COMMANDS[command][0]}.{command}").run(argv)
    except UserError as error:
        fault(f"gs3d: {error.for_command_line}")
        return 2
    except KeyboardInterrupt:
        fault("gs3d: interrupted" + HOW_TO_CONTINUE.get(command, ""))
        return 130


if __name__ == "__main__":
    sys.exit(main())
