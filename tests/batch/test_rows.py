"""Lists of rows: three formats, names, and what is wrong with a list in one line."""

import json

import pytest

from gs3d.batch import rows as module
from gs3d.batch.rows import Row, read_rows
from gs3d.core.errors import UserError


def listed(tmp_path, text, suffix=".txt"):
    path = tmp_path / f"list{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_rows(path)


def test_text_has_a_prompt_per_line(tmp_path):
    found = listed(tmp_path, "# my list\na red  mushroom\n\n  a blue chair\n")
    assert found == [
        Row("a red mushroom", "a-red-mushroom-s0"),
        Row("a blue chair", "a-blue-chair-s0"),
    ]


def test_csv_and_json_lines_have_all_columns(tmp_path):
    csv = (
        'name,prompt,seed,minutes,mode,prior,config\nOne!,"a cat, sleeping",3,1.5,mesh,builtin,x\n'
    )
    csv += ",a dog,,,,,\n"
    expected = [
        Row("a cat, sleeping", "one", 3, 1.5, "mesh", "builtin", "x"),
        Row("a dog", "a-dog-s0"),
    ]
    assert listed(tmp_path, csv, ".csv") == expected
    lines = [
        {"name": "One!", "prompt": "a cat, sleeping", "seed": 3, "minutes": 1.5, "mode": "mesh"}
        | {"prior": "builtin", "config": "x"},
        {"prompt": "a dog", "seed": None, "mode": ""},
    ]
    text = "\ufeff" + "\n".join(map(json.dumps, lines))
    assert listed(tmp_path, text, ".jsonl") == expected


def test_rows_of_one_prompt_have_names_of_their_own(tmp_path):
    lines = [{"prompt": "a cat!"}, {"prompt": "a cat"}, {"prompt": "a cat", "mode": "mesh"}]
    names = [row.name for row in listed(tmp_path, "\n".join(map(json.dumps, lines)), ".jsonl")]
    assert len(set(names)) == 3 and names[1] == "a-cat-s0"
    # They do not depend on other rows, nor on what may change when a row goes on.
    for line, name in zip(lines, names, strict=True):
        (row,) = listed(tmp_path, json.dumps({**line, "minutes": 3}), ".jsonl")
        assert row.name == name


def test_names_are_no_paths(tmp_path):
    hostile = ("../../etc", "/tmp/x", "..", "a\nb")
    lines = [{"prompt": f"a cat {i}", "name": name} for i, name in enumerate(hostile)]
    names = [row.name for row in listed(tmp_path, "\n".join(map(json.dumps, lines)), ".jsonl")]
    assert not any("/" in name or "." in name or "\n" in name for name in names)


@pytest.mark.parametrize(
    "suffix,text,message",
    [
        (".txt", "", "contains no row"),
        (".txt", "# nothing\n", "contains no row"),
        (".txt", b"a caf\xe9\n", "not UTF-8 text (byte 5)"),
        (".txt", "a cat\n\na  cat\n", "line 3 is the same as line 1; remove the later"),
        (".txt", "a cat\na dog\na cat\na dog\n", "line 3 is the same as line 1, line 4 is the"),
        (".txt", "a cat\n" * 9, "line 6 is the same as line 1, and 3 more; remove the later ones"),
        (".txt", "x" * 1001, "line 1: prompt: expected at most 1000 characters"),
        (".xlsx", "a cat", "expected a list as .txt, .csv or .jsonl"),
        (".csv", "promt\na cat\n", "line 1: expected a header with the column prompt"),
        (".csv", "prompt,sed\na cat,1\n", "unknown column 'sed'"),
        (".csv", "prompt,prompt\na,b\n", "a column is there twice"),
        (".csv", "prompt,seed\na cat, big,1\n", "3 cells, and the header has 2; put a prompt"),
        (
            ".csv",
            "prompt,seed\na cat,one\n",
            "seed: expected a whole number below 2**63, got 'one'",
        ),
        (
            ".csv",
            "prompt,seed\na cat,1.5\n",
            "seed: expected a whole number below 2**63, got '1.5'",
        ),
        (".csv", f"prompt,seed\na cat,{2**63}\n", "seed: expected a whole number below 2**63"),
        (".jsonl", f'{{"prompt": "a", "minutes": {10**400}}}', "expected a number above 0"),
        (".csv", "prompt,name\na cat,workers\n", "'workers' is that of a folder of the batch"),
        (".csv", "prompt,minutes\na cat,0\n", "expected a number above 0"),
        (".csv", "prompt,minutes\na cat,nan\n", "expected a number above 0"),
        (".csv", "prompt,mode\na cat,nerf\n", "mode: expected splats or mesh or two-stage"),
        (".csv", 'prompt\n"a cat\n', "not CSV"),
        (".jsonl", "a cat\n", "line 1: not JSON"),
        (".jsonl", "[1]\n", "line 1: expected an object"),
        (".jsonl", '{"prompt": 3}\n', "prompt: expected text, got int"),
        (".jsonl", '{"seed": 3}\n', "prompt: it is empty"),
        (".jsonl", '{"prompt": "a", "seed": true}\n', "seed: expected a whole number"),
        (".jsonl", '{"prompt": "a", "prior": 3}\n', "prior: expected text"),
        (".jsonl", "[" * 100_000, "not JSON"),
        (
            ".csv",
            "prompt,name\na cat,Big Cat\na dog,big-cat\n",
            "line 3: its name 'big-cat' is that of line 2",
        ),
    ],
)
def test_a_wrong_list_is_one_line(tmp_path, suffix, text, message):
    with pytest.raises(UserError) as caught:
        listed(tmp_path, text, suffix)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_rows(tmp_path / "none.txt")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        read_rows(tmp_path / "folder.txt")


def test_too_many_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    with pytest.raises(UserError, match="more than 3 rows; split the list"):
        listed(tmp_path, "a\nb\nc\nd\n")
