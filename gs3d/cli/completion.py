"""`gs3d --completion SHELL`: a script that completes commands, options and their choices."""

import re
import shlex

from gs3d.core.errors import UserError

SHELLS = ("bash", "zsh", "fish")
NAME = r"--[a-z][\w-]*"
OPTION = re.compile(rf"^[│ ]+((?:-\w(?: \w+)?, )?{NAME}(?:, {NAME})*)(?: \{{([^}}]*)\}})?", re.M)
"""Options in a line of a help text, and the choices of the last one."""


def script(shell: str, helps: dict[str, str]) -> str:
    """The script for a shell.

    Args:
        shell: bash, zsh or fish.
        helps: Command -> what its --help prints, 200 columns wide.

    Raises:
        UserError: Another shell.
    """
    if shell not in SHELLS:
        raise UserError(f"--completion {shell}: expected {' or '.join(SHELLS)}")
    options = {command: options_in(text) for command, text in helps.items()}
    return _fish(options) if shell == "fish" else _bash(options, shell == "zsh")


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
