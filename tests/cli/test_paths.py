"""Missing input files of the commands that read splats or a mesh."""

import pytest

from tests.cli.commands import one_line_fault


@pytest.mark.parametrize("name", ["nope", "nope.ply", "nope/splats.ply"])
@pytest.mark.parametrize(
    "command,options",
    [
        ("convert", ["a.ply"]),
        ("clean", ["--center", "-o", "a.ply"]),
        ("info", []),
        ("render", []),
        ("view", []),
        ("mesh", []),
    ],
)
def test_missing_file_is_said_to_be_missing(capsys, tmp_path, monkeypatch, command, options, name):
    monkeypatch.chdir(tmp_path)
    message = one_line_fault(capsys, command, name, *options)
    assert f"{name}: there is no such file" in message
