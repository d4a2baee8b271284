"""Prompt lists: valid files, shipped lists, and invalid files."""

import pytest

from gs3d.core.errors import UserError
from gs3d.evaluation.prompts import read_prompts, shipped


def write(tmp_path, text: str | bytes) -> str:
    """Write a prompt list and return its path."""
    path = tmp_path / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_blank_lines_comments_and_repeats_are_skipped(tmp_path):
    read = read_prompts(
        write(tmp_path, "\ufeff# mine\n\na red  duck\r\n   \na blue chair\n a red duck \n")
    )
    assert list(read.meanings) == ["a red duck", "a blue chair"] and read.repeated == 1
    assert read.meanings["a blue chair"].thing.kind == "chair"


def test_shipped_lists_are_read_by_name():
    assert shipped() == ["ablation", "plain", "reporting", "tuning", "two-objects"]
    assert len(read_prompts("tuning").meanings) == 24
    assert len(read_prompts("reporting").meanings) == 60


def test_open_prompts_are_accepted_on_request(tmp_path):
    read = read_prompts(write(tmp_path, "a red duck\na corgi on a skateboard\n"), open_prompts=True)
    assert read.meanings["a red duck"] and read.meanings["a corgi on a skateboard"] is None


def test_long_list_with_repeats(tmp_path):
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
        ("", "contains no prompt"),
        ("\n\n# a red duck\n", "contains no prompt"),
        ("a red duck\na red dragon\n", "line 2 'a red dragon'; `gs3d vocab`"),
        ("x\ny\nz\nw\nv\n", "line 1 'x', line 2 'y', line 3 'z' and 2 more"),
        ("a red duck\na red\x07 duck\n", "line 2: it holds the control character U+0007"),
        ("a " * 600, "line 1: expected at most 1000 characters"),
        (b"a red duck\n\xff\xfe\n", "not UTF-8 text"),
    ],
)
def test_invalid_list_raises_one_line_error(tmp_path, text, expected):
    with pytest.raises(UserError) as error:
        read_prompts(write(tmp_path, text))
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_missing_file_and_directory_raise_user_error(tmp_path):
    with pytest.raises(
        UserError,
        match="no such file; the lists that come with gs3d are ablation, .*, tuning, two-objects",
    ):
        read_prompts(str(tmp_path / "none.txt"))
    with pytest.raises(UserError, match="is a directory"):
        read_prompts(str(tmp_path))
