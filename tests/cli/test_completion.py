"""`gs3d --completion`: in a real bash, and what the scripts of other shells hold."""

import re
import shutil
import subprocess

import pytest

from gs3d.cli.main import COMMANDS
from tests.cli.commands import one_line_fault, run


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    """Complete the last word of a command line in bash."""
    from gs3d.cli.completion import script

    if shutil.which("bash") is None:
        pytest.skip("no bash")
    file = tmp_path_factory.mktemp("completion") / "gs3d.sh"
    file.write_text(script("bash"))

    def complete(*words: str) -> list[str]:
        typed = " ".join(f"'{word}'" for word in ("gs3d", *words))
        code = f"source {file}; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _gs3d; "
        code += 'printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        return done.stdout.split()

    return complete


def test_commands_options_and_choices_are_completed(bash):
    assert bash("gen") == ["generate"]
    assert bash("") == list(COMMANDS)
    assert bash("generate", "a red ball", "--mi") == ["--minutes"]
    assert bash("generate", "--mode", "") == ["splats", "mesh", "two-stage", "scene"]
    options = bash("clean", "a.ply", "--")
    assert "--floaters" in options and all(re.fullmatch(r"--[a-z][a-z-]*", o) for o in options)
    assert "vsd" in bash("generate", "--guidance", "") and not bash(
        "generate", "--guidance", "FILE"
    )
    # Files are left to the shell.
    assert bash("info", "") == []


def test_other_shells(capsys):
    status, out, _ = run(capsys, "--completion", "zsh")
    assert status == 0 and out.startswith("autoload -U compinit bashcompinit")
    status, out, _ = run(capsys, "--completion", "fish")
    line = "complete -c gs3d -n '__fish_seen_subcommand_from generate' -l mode -ra "
    assert status == 0 and line + "'splats mesh two-stage scene'" in out
    for wrong in ((), ("cmd",), ("bash", "zsh")):
        assert "expected bash or zsh or fish" in one_line_fault(capsys, "--completion", *wrong)
