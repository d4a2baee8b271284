"""--start builtin: a short run of the built-in prior gives the splats to start from."""

import dataclasses
import signal
from pathlib import Path

import pytest

import gs3d
from gs3d.core.errors import UserError
from gs3d.runs import execute
from gs3d.runs.history import read_record
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from gs3d.runs.starts import builtin
from tests.runs.running import equal, generate, log_rows


@pytest.fixture
def request_from_builtin(splats_request, monkeypatch):
    """Two steps of the short run, which has the preset of the built-in prior."""
    monkeypatch.setattr(builtin, "STEPS", 2)
    return dataclasses.replace(
        splats_request,
        prompt="a DSLR photo of a shiny blue toy car",
        start=Path("builtin"),
        steps=2,
        set=("densify.rounds=1",),
    )


def test_run_starts_from_the_splats_of_the_short_run(request_from_builtin):
    lines = []
    result = generate(request_from_builtin, say=lines.append)
    assert "starting from 'a blue car' as the built-in prior makes it" in lines
    before = gs3d.load(result.folder / "start").splats
    record = read_record(result.folder / "start")
    assert (record["prompt"], record["prior"]["name"]) == ("a blue car", "builtin")
    assert len(result.splats) == len(before)
    assert 0 < float((result.splats.means - before.means).norm(dim=1).median()) < 0.05
    assert log_rows(result.folder)[0]["progress"] == 0.5


def test_resumed_run_does_not_start_again(request_from_builtin):
    first = generate(request_from_builtin)
    again = dataclasses.replace(request_from_builtin, steps=3, resume=True, start=None)
    assert prepare(again).start_prompt is None
    written = (first.folder / "start" / "splats.ply").stat().st_mtime_ns
    assert generate(again).steps == 3
    assert (first.folder / "start" / "splats.ply").stat().st_mtime_ns == written


def test_run_that_was_stopped_before_its_first_step_uses_the_finished_start(request_from_builtin):
    once = generate(request_from_builtin)
    (checkpoint,) = (once.folder / "checkpoint").glob("*")
    checkpoint.unlink()
    (once.folder / "splats.ply").unlink()
    lines = []
    again = generate(dataclasses.replace(request_from_builtin, resume=True), say=lines.append)
    assert equal(again.splats, once.splats)


def test_fault_of_the_short_run_is_said_to_be_its_own(request_from_builtin):
    request = dataclasses.replace(request_from_builtin, steps=None, minutes=0.002)
    with pytest.raises(UserError, match="start builtin: in the short run .*: minutes 0.0005: "):
        generate(request)


def test_ctrl_c_during_the_short_run_ends_the_whole(request_from_builtin, monkeypatch):
    run_all = execute.execute

    def with_ctrl_c(plan, callbacks=None):
        if plan.folder.name == "start":
            stop = dataclasses.replace(callbacks, on_step=lambda *_: signal.raise_signal(2))
            return run_all(plan, stop)
        return run_all(plan, callbacks)

    monkeypatch.setattr(execute, "execute", with_ctrl_c)
    # Background jobs of a shell ignore Ctrl-C, and so would the run.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            generate(request_from_builtin)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not (request_from_builtin.out / "splats.ply").exists()

    # Resumed without --start, it goes on with the start that is there, and says so.
    monkeypatch.undo()
    lines, again = [], dataclasses.replace(request_from_builtin, resume=True, start=None)
    monkeypatch.setattr(builtin, "STEPS", 2)
    result = generate(again, say=lines.append)
    there = result.folder / "start"
    assert (
        f"{there} has the start of a run that was stopped: it goes on as with --start b" in lines[0]
    )
    assert read_record(result.folder)["start"] == "builtin"
    assert len(result.splats) == len(gs3d.load(there).splats)
    assert not prepare(
        dataclasses.replace(again, resume=False, out=there.parent / "x")
    ).start_prompt


def test_minutes_are_a_quarter_of_the_run_and_at_most_twenty_seconds(request_from_builtin):
    def minutes(given):
        asked = dataclasses.replace(request_from_builtin, minutes=given, steps=None)
        return builtin.start_request(asked, "a blue car", Path("x"), "cpu").minutes

    assert minutes(15) == pytest.approx(1 / 3)
    assert minutes(1) == pytest.approx(0.25)


@pytest.mark.parametrize(
    "prompt, given",
    [
        ("a green plane with red wings", "a green plane with red wings"),
        ("a photo of a green plane with red wings", "a photo of a green plane with red wings"),
        ("a green plane with red wings over a lake", "a green plane"),
    ],
)
def test_prompts_that_the_builtin_prior_understands_are_given_whole(
    request_from_builtin, prompt, given
):
    request = dataclasses.replace(request_from_builtin, prompt=prompt)
    assert prepare(request).start_prompt == given


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"prompt": "a DSLR photo of a corgi"}, "names no kind of object that the built-in prior"),
        ({"prior": "builtin"}, "the prior of the run is builtin already; leave --start out"),
        (
            {"mode": "two-stage", "config": None, "set": ()},
            "a nerf cannot start from what is there",
        ),
    ],
)
def test_wrong_use_is_refused_before_anything_is_written(request_from_builtin, changes, text):
    with pytest.raises(UserError) as caught:
        prepare(dataclasses.replace(request_from_builtin, **changes))
    assert text in caught.value.for_command_line
    assert not request_from_builtin.out.exists()


def test_short_run_that_fails_says_so(request_from_builtin, monkeypatch):
    def diverge(plan, callbacks=None):
        return execute.Result(plan.folder, "diverged", None, 2, 1.0, [])

    plan = prepare(request_from_builtin)
    monkeypatch.setattr(execute, "execute", diverge)
    with pytest.raises(UserError, match=r"start builtin: .* ended early \(diverged\)"):
        execute._run(plan, execute.Phases(plan.started), execute.Callbacks())


def test_run_that_could_take_it_says_so(tmp_path):
    def lines(prompt, **changes):
        request = Request(prompt, steps=1, prior="builtin-512", out=tmp_path / "run", **changes)
        return [m.text for m in prepare(request).messages if "--start builtin" in m.text]

    (line,) = lines("a DSLR photo of a red sports car")
    assert line.startswith("the built-in prior knows 'a red car': with --start builtin")
    assert not lines("a DSLR photo of a corgi")
    assert not lines("a red car", start=Path("builtin"))
    assert not lines("a red car", mode="two-stage")
    pixels = Request("a red car", steps=1, prior="builtin", out=tmp_path / "run")
    assert not prepare(pixels).messages


@pytest.mark.parametrize(
    "options,budget",
    [({}, " --minutes 3 "), ({"minutes": 1.5}, " --minutes 1.5 "), ({"steps": 2}, " makes")],
)
def test_run_of_two_objects_names_compose(tmp_path, options, budget):
    both = "a red ball on a green table"

    def lines(prompt=both, prior="builtin", **changes):
        request = Request(prompt, prior=prior, out=tmp_path / "run", **options, **changes)
        return [m.text for m in prepare(request).messages if "gs3d compose" in m.text]

    (line,) = lines()
    assert line.startswith(f"gs3d compose '{both}'{budget}")
    assert not lines("a red ball") and not lines(prior="builtin-512")
    for mode in ("mesh", "two-stage"):
        assert not lines(mode=mode)
    # What gs3d compose has no option for.
    assert not lines(guidance="cds") and not lines(seeds=2) and not lines(set=("batch=2",))
