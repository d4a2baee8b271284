"""Prompts and names of rows are text: in the names of folders, in commands, and in pages."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from gs3d.batch.plan import command_of
from gs3d.batch.request import Batch
from gs3d.batch.rows import read_rows
from gs3d.core.errors import UserError, printable
from gs3d.priors.prompts import check_prompt
from gs3d.runs.folders import DEVICES, LONGEST_BYTES, default_folder, pick_folder, slug
from gs3d.runs.request import Request
from tests.hostile import REFUSED, TAKEN


def is_plain_name(name: str) -> bool:
    """Whether a name stays in its folder, on any system, and is no option of a command."""
    return (
        name == os.path.basename(name)
        and not set(name) & set("/\\:*?\"<>|.~$`;&%!'\n\r\0 ")
        and not name.startswith("-")
        and name.lower() not in DEVICES
        and 0 < len(name.encode()) <= LONGEST_BYTES + 8
        and printable(name) == name
    )


@pytest.mark.parametrize("prompt", TAKEN, ids=ascii)
def test_the_folder_of_a_prompt_is_one_plain_name(prompt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_plain_name(slug(prompt))
    folder = default_folder(check_prompt(prompt), -1)
    assert folder.parent == Path("outputs") and is_plain_name(folder.name)
    (tmp_path / folder).mkdir(parents=True)
    assert pick_folder(check_prompt(prompt), -1, None, resume=False) == folder
    assert [p.name for p in tmp_path.iterdir()] == ["outputs"]


def test_names_that_differ_stay_apart():
    assert len({slug(prompt) for prompt in ("con", "con-", "c/o/n", "..", "/", "<>", "?")}) == 7


@pytest.mark.parametrize("prompt", REFUSED, ids=lambda text: ascii(text[:9]))
def test_other_prompts_are_refused_in_one_line_without_control_characters(prompt):
    with pytest.raises(UserError) as caught:
        check_prompt(prompt)
    assert printable(str(caught.value)) == str(caught.value) and len(str(caught.value)) < 300
    assert is_plain_name(slug(prompt))


@pytest.mark.parametrize("text", TAKEN, ids=ascii)
def test_rows_of_a_batch_have_plain_names_and_keep_their_prompts(tmp_path, text):
    rows = [{"prompt": text}, {"prompt": "a cat", "name": text}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompt, name = read_rows(tmp_path / "rows.jsonl")
    assert prompt.prompt == " ".join(text.split()) and name.prompt == "a cat"
    assert is_plain_name(prompt.name) and is_plain_name(name.name)
    batch = Batch(tmp_path / "rows.jsonl", out=tmp_path / "out")
    for row in (prompt, name):
        out = batch.request_of(row).out
        assert out is not None and out.parent == tmp_path / "out"


def test_commands_stay_one_command_in_a_shell(tmp_path):
    """The command that is shown for a row is made to be pasted."""
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    program = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    for prompt in TAKEN:
        prompt = check_prompt(prompt)
        words = shlex.split(command_of(Request(prompt, out=Path(prompt))))
        assert words == ["gs3d", "generate", prompt, "--out", str(Path(prompt))]
    lines = [
        command_of(Request(check_prompt(prompt))).replace("gs3d", program, 1) for prompt in TAKEN
    ]
    done = subprocess.run(
        ["sh", "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    got = [json.loads(line)[1] for line in done.stdout.splitlines()]
    assert got == [check_prompt(prompt) for prompt in TAKEN]
    assert not any(tmp_path.iterdir())


def test_a_prompt_that_looks_like_options_is_no_option(tmp_path, monkeypatch):
    """`gs3d evaluate` passes the lines of a list as arguments."""
    from gs3d.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "loss.py").write_text("open('ran', 'w')")
    for prompt in ("--guidance=loss.py:Loss", "--config=a.yaml", "--out=other"):
        with pytest.raises(SystemExit):
            main(["generate", prompt, "--steps", "1", "--prior", "builtin"])
    assert [p.name for p in tmp_path.iterdir()] == ["loss.py"]


def test_a_contact_sheet_draws_any_text(tmp_path):
    import numpy as np

    from gs3d.evaluation.reference import reference_splats
    from gs3d.evaluation.sheet import write_result_sheet
    from gs3d.world.sample import sample
    from tests.evaluation.test_report import result

    splats = reference_splats(sample(np.random.default_rng(0), "duck", "red").parts, size_px=32)
    rows = [replace(result(), prompt=check_prompt(text), method=text) for text in TAKEN[::6]]
    write_result_sheet(tmp_path / "sheet.png", rows, lambda r: splats, cell_px=32)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height == 32 * len(rows)


def test_messages_hold_no_command_to_a_terminal():
    text = "\x1b]0;title\x07\x9b2J \u202eatac a\u202c and\na line"
    message = str(UserError(f"cannot read {text}"))
    assert message == r"cannot read \x1b]0;title\x07\x9b2J \u202eatac a\u202c and a line"
    assert printable("a\ttab, a\nline, é, קסם and 🦆") == "a\ttab, a\nline, é, קסם and 🦆"
