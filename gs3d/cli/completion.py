"""`gs3d --completion SHELL`: a script that completes commands, options and their choices."""

import contextlib
import io
import os
import re
import shlex

from gs3d.cli.main import COMMANDS, main
from gs3d.cli.output import fault, say

SHELLS = ("bash", "zsh", "fish")
NAME = r"--[a-z][\w-]*"
OPTION = re.compile(rf"^[│ ]+((?:-\w(?: \w+)?, )?{NAME}(?:, {NAME})*)(?: \{{([^}}]*)\}})?", re.M)
"""Options in a line of a help text, and the choices of the last one."""


def run(argv: list[str]) -> int:
    """Print the script for a shell."""
    if len(argv) != 1 or argv[0] not in SHELLS:
        fault(f"gs3d: --completion: expected {' or '.join(SHELLS)}, got {' '.join(argv) or 'none'}")
        return 2
    say(script(argv[0]))
    return 0


def script(shell: str) -> str:
    """The script for one of `SHELLS`."""
    options = {command: options_in(help_of(command)) for command in COMMANDS}
    return _fish(options) if shell == "fish" else _bash(options, shell == "zsh")


def help_of(command: str, columns: int = 200) -> str:
    """What `gs3d COMMAND --help` prints on a terminal of so many columns, without colors."""
    before, out = os.environ.get("COLUMNS"), io.StringIO()
    os.environ["COLUMNS"] = str(columns)
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main([command, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        os.environ |= {} if before is None else {"COLUMNS": before}
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).strip()


def options_in(text: str) -> dict[str, list[str]]:
    """Option -> its choices, as a help text lists them."""
    found: dict[str, list[str]] = {}
    for names, choices in OPTION.findall(text):
        for name in re.findall(NAME, names):
            # A file in place of a choice is left to the shell.
            found[name] = [c for c in choices.split(",") if re.fullmatch(r"[\w-]+", c)]
    return found


def _bash(options: dict[str, dict[str, list[str]]], is_zsh: bool) -> str:
    lines = ["autoload -U compinit bashcompinit && compinit && bashcompinit"] if is_zsh else []
    lines += [
        "_gs3d() {",
        '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words=""',
        '  if [ "$COMP_CWORD" -eq 1 ]; then',
        f"    words={shlex.quote(' '.join(options))}",
        '  else case "${COMP_WORDS[1]} $before" in',
    ]
    for command, own in options.items():
        for name, choices in own.items():
            if choices:
                words = shlex.quote(" ".join(choices))
                lines.append(f"    {shlex.quote(f'{command} {name}')}) words={words} ;;")
    lines.append('  *) case "$word" in -*) case "${COMP_WORDS[1]}" in')
    for command, own in options.items():
        lines.append(f"    {command}) words={shlex.quote(' '.join(own))} ;;")
    lines += [
        "  esac ;; esac ;; esac; fi",
        '  COMPREPLY=( $(compgen -W "$words" -- "$word") )',
        "}",
        "complete -o default -F _gs3d gs3d",
    ]
    return "\n".join(lines)


def _fish(options: dict[str, dict[str, list[str]]]) -> str:
    names = " ".join(options)
    lines = [f"complete -c gs3d -n __fish_use_subcommand -a {shlex.quote(names)}"]
    for command, own in options.items():
        for name, choices in own.items():
            line = f"complete -c gs3d -n '__fish_seen_subcommand_from {command}' -l {name[2:]}"
            lines.append(line + (f" -ra {shlex.quote(' '.join(choices))}" if choices else ""))
    return "\n".join(lines)
