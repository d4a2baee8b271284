"""`gs3d batch` from its arguments to its lines."""

import pytest

from gs3d.batch.shown import index
from gs3d.batch.shown.index import Entry
from gs3d.core.runtime.threads import cores
from gs3d.runs.lock import locked
from tests.cli.commands import one_line_fault, run


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a red duck\na blue chair\n")
    return str(path)


def test_dry_run_says_what_it_takes_and_writes_nothing(prompts, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--minutes", "3", "--workers", "1", "--prior", "builtin", "--out", str(out)]
    status, said, _ = run(capsys, "batch", prompts, "--dry-run", "--price", "2", *arguments)
    lines = said.splitlines()
    assert status == 0
    each = f"{len(cores())} core" + "s" * (len(cores()) > 1)
    assert lines[0] == f"2 rows, 2 to make, 1 at once, {each} each, in {out}"
    assert lines[1:3] == ["time: about 6 min, 0.1 machine hours", "cost: 0.20, at 2 an hour"]
    assert lines[3].startswith("disk: up to ") and not out.exists()


def test_status_lists_what_failed_with_its_command(tmp_path, capsys):
    entries = [
        Entry("a-s0", 0, "a", 0, "done", command="gs3d generate a"),
        Entry("b-s0", 1, "b", 0, "failed", "no room", "gs3d generate b"),
        Entry("c-s0", 2, "c", 0),
    ]
    with index.opened(tmp_path) as db:
        index.put(db, entries)
    (tmp_path / "gallery.html").touch()
    status, said, _ = run(capsys, "batch", "status", str(tmp_path))
    assert status == 0 and said.splitlines() == [
        "1 waiting, 1 failed, 1 done",
        "failed: b-s0: no room",
        "  gs3d generate b",
        f"gallery: {tmp_path / 'gallery.html'}",
    ]


def test_status_of_a_batch_at_work_says_how_fast_it_is(tmp_path, capsys):
    entries = [
        Entry("a-s0", 0, "a", 0, "done", seconds=25.0),
        Entry("b-s0", 1, "b", 0, "done", seconds=15.0),
        Entry("c-s0", 2, "c", 0, "running", steps=30, progress=0.25),
        Entry("d-s0", 3, "d", 0, "running", steps=90, progress=0.75),
        Entry("e-s0", 4, "e", 0),
    ]
    with index.opened(tmp_path) as db:
        index.put(db, entries)
    with locked(tmp_path):
        status, said, _ = run(capsys, "batch", "status", str(tmp_path))
    # 20 s a row, two at once, two rows left in all.
    assert status == 0 and said.splitlines() == [
        "1 waiting, 2 running, 2 done, 360 rows an hour; about 20 s left",
        "running: c-s0: step 30, 25 %",
        "running: d-s0: step 90, 75 %",
    ]
    _, said, _ = run(capsys, "batch", "status", str(tmp_path))
    assert said.splitlines() == ["1 waiting, 2 stopped, 2 done"]


@pytest.mark.parametrize("command", ["status", "index"])
def test_a_folder_without_a_batch_is_one_line(tmp_path, capsys, command):
    assert str(tmp_path) in one_line_fault(capsys, "batch", command, str(tmp_path))


@pytest.mark.parametrize(
    "arguments,message",
    [
        ([], "LIST"),
        (["{list}", "--workers", "0"], "--workers: expected 1 or more"),
        (["{list}", "--order", "longest"], "--order"),
        (["{list}", "--mode", "mush"], "--mode"),
        (["{list}", "--config", "none.yaml", "--dry-run"], "row 1 (a-red-duck-s0)"),
        (["none.txt"], "none.txt: cannot be read"),
    ],
)
def test_faults_are_one_line(prompts, capsys, arguments, message):
    given = [argument.format(list=prompts) for argument in arguments]
    assert message in one_line_fault(capsys, "batch", *given)
