"""The entry point `gs3d`: help, version, unknown commands, interruption, light imports."""

import re
import subprocess
import sys
from importlib import import_module

import pytest

import gs3d
from gs3d.cli.main import COMMANDS
from tests.cli.commands import one_line_fault, run


def test_help_lists_every_command(capsys):
    status, out, _ = run(capsys, "--help")
    assert status == 0 and all(f"  {name:<11}" in out for name in COMMANDS)


def test_no_command_prints_the_help_with_status_2(capsys):
    assert run(capsys) == (2, run(capsys, "--help")[1], "")


def test_version(capsys):
    line = run(capsys, "--version")[1]
    pattern = rf"gs3d {gs3d.__version__}.*, Python 3\.\d+\.\d+, torch \S+, .*CUDA.*\n"
    assert re.fullmatch(pattern, line)


def test_unknown_command_names_the_nearest(capsys):
    assert "did you mean generate" in one_line_fault(capsys, "generat")


def test_truth_is_an_alias_of_reference(capsys):
    assert run(capsys, "truth", "--help") == run(capsys, "reference", "--help")


@pytest.mark.parametrize(
    "command,message",
    [("generate", "gs3d: interrupted; add --resume"), ("vocab", "gs3d: interrupted\n")],
)
def test_ctrl_c_outside_a_run_gives_status_130(capsys, monkeypatch, command, message):
    def interrupted(argv):
        raise KeyboardInterrupt

    module = import_module(f"gs3d.cli.{COMMANDS[command][0]}.{command}")
    monkeypatch.setattr(module, "run", interrupted)
    status, _, err = run(capsys, command)
    assert status == 130 and err.startswith(message)


def test_import_of_gs3d_is_light():
    heavy = {"numba", "diffusers", "transformers", "gsplat", "tyro", "rich", "av", "plyfile"}
    code = "import torch, sys, gs3d; gs3d.generate, gs3d.load; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())


def test_help_does_not_import_torch():
    code = "import sys; from gs3d.cli.main import main; main(['--help']); "
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
