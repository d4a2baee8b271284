"""`gs3d`: picks the command, and turns a `UserError` into one line and exit status 2."""

import sys

COMMANDS = {
    "generate": "make splats from a prompt",
    "render": "draw a splat file as a picture or a turntable",
    "vocab": "words that the built-in prior knows",
    "doctor": "check this machine, and say what to do",
}
HELP = "usage: gs3d COMMAND ...\n\n" + "\n".join(f"  {name:<10}{what}" for name, what in COMMANDS.items())
HELP += "\n\n  gs3d COMMAND --help    every option of a command\n  gs3d --version\n"


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit status. Commands are imported only when asked for: `gs3d --help` should not wait for torch."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0 if argv else 2
    if argv[0] == "--version":
        from importlib.metadata import version

        print(f"gs3d {version('gs3d')}")
        return 0
    if argv[0] not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(argv[0], COMMANDS, 1, 0.4)
        print(f"gs3d: unknown command {argv[0]!r}; {f'did you mean {near[0]}?' if near else 'see gs3d --help'}", file=sys.stderr)
        return 2
    from importlib import import_module

    from gs3d.core.errors import UserError

    try:
        return import_module(f"gs3d.cli.{argv[0]}").run(argv[1:])
    except UserError as error:
        print(f"gs3d: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("gs3d: interrupted before there was anything to export", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
