"""Files of prompts, good and bad."""

import pytest

from gs3d.core.errors import UserError
from gs3d.evaluation.prompts import read_prompts, shipped


def write(tmp_path, text: str | bytes) -> str:
    path = tmp_path / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_blank_lines_comments_and_repeats(tmp_path):
    read = read_prompts(
        write(tmp_path, "\ufeff# mine\n\na red  duck\r\n   \na blue chair\n a red duck \n")
    )
    assert list(read.meanings) == ["a red duck", "a blue chair"] and read.repeated == 1
    assert read.meanings["a blue chair"].thing.kind == "chair"


def test_shipped_lists_by_name():
    assert shipped() == ["ablation", "plain", "reporting", "tuning"]
    assert (
        len(read_prompts("tuning").meanings) == 24 and len(read_prompts("reporting").meanings) == 60
    )


def test_open_prompts_are_taken_where_somebody_else_marks_them(tmp_path):
    read = read_prompts(write(tmp_path, "a red duck\na corgi on a skateboard\n"), open_prompts=True)
    assert read.meanings["a red duck"] and read.meanings["a corgi on a skateboard"] is None


def test_ten_thousand_rows(tmp_path):
    rows = [
        f"a {size} {color} duck"
        for size in ("small", "tall", "wide", "")
        for color in ("red", "blue")
    ] * 1250
    read = read_prompts(write(tmp_path, "\n".join(rows)))
    assert len(read.meanings) == 8 and read.repeated == 9992


@pytest.mark.parametrize(
    "text,expected",
    [
        ("", "holds no prompt"),
        ("\n\n# a red duck\n", "holds no prompt"),
        ("a red duck\na red dragon\n", "line 2 'a red dragon'; `gs3d vocab`"),
        ("x\ny\nz\nw\nv\n", "line 1 'x', line 2 'y', line 3 'z' and 2 more"),
        ("a red duck\na red\x07 duck\n", "line 2: it holds the control character U+0007"),
        ("a " * 600, "line 1: expected at most 1000 characters"),
        (b"a red duck\n\xff\xfe\n", "not UTF-8 text"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path, text, expected):
    with pytest.raises(UserError) as error:
        read_prompts(write(tmp_path, text))
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(
        UserError,
        match="no such file; lists that come with gs3d are ablation, plain, reporting, tuning",
    ):
        read_prompts(str(tmp_path / "none.txt"))
    with pytest.raises(UserError, match="is a folder"):
        read_prompts(str(tmp_path))
