"""The texts of error messages: flags and arguments, and the nearest name to an unknown one."""

import pytest

from gs3d.core.errors import UserError, did_you_mean


def test_message_has_flags_on_the_command_line_and_arguments_in_python():
    error = UserError("--sh-degree: expected 0 to 3; see `gs3d convert --help`")
    assert error.for_command_line.startswith("--sh-degree: ")
    assert str(error) == "sh_degree: expected 0 to 3; see `gs3d convert --help`"


@pytest.mark.parametrize(
    "word,expected",
    [
        ("splat", "; did you mean 'splats'?"),
        ("messh", "; did you mean 'mesh' or 'meshes'?"),
        ("MESH", "; did you mean 'mesh'?"),
        ("qqq", ""),
    ],
)
def test_nearest_name(word, expected):
    assert did_you_mean(word, ["splats", "mesh", "meshes"]) == expected
