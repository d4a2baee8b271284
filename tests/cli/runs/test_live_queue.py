"""Runs requested in the viewer of `gs3d generate --viewer`, without running them; updates."""

import contextlib
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.distill.state import Particle, TrainState
from gs3d.runs.request import Request
from gs3d.viewer.controls import Asked
from gs3d.viewer.server import listen
from tests.cli.runs.viewing import live, recorded_calls, twenty_splats


def fake_result(outcome="finished", has_asset=True, signalled=False):
    """The fields of a `Result` that the viewer reads."""
    asset = twenty_splats().splats() if has_asset else None
    fields = {"outcome": outcome, "signalled": signalled, "steps": 1, "folder": Path("run")}
    return SimpleNamespace(asset=asset, **fields)


def in_viewer(*outcomes, wait=True):
    """Run `live.in_viewer` with runs that return or raise the given outcomes, in that order.

    Returns its result, the prompts of the runs, and (status line, title) of the viewer at the end.
    """
    prompts, remaining = [], list(outcomes)

    def make(request, watch_by, first):
        prompts.append(request.prompt)
        assert first == (len(prompts) == 1)
        if isinstance(outcome := remaining.pop(0), BaseException):
            raise outcome
        return outcome

    texts = []
    real = live._open_viewer

    @contextlib.contextmanager
    def keep_texts(request):
        with real(request) as (viewer, controls):
            yield viewer, controls
            texts.append((viewer.about.content, viewer.name))

    live._open_viewer = keep_texts
    try:
        result = live.in_viewer(Request("a tree"), make, wait)
        return result, prompts, texts[0] if texts else None
    finally:
        live._open_viewer = real


@pytest.mark.parametrize("outcome", ["interrupted", "finished"])
def test_failed_run_is_reported_and_the_previous_result_stays(outcome, capsys, monkeypatch, queue):
    notes = recorded_calls(monkeypatch, "notify")
    queue.requests += [Asked("a chair", 0), Asked("a car", 1), Asked("a mug", 0)]
    first = fake_result(outcome)
    failed = [UserError("no room"), fake_result("diverged", has_asset=False)]
    result, prompts, texts = in_viewer(first, *failed, fake_result())
    assert result is first and prompts == ["a tree", "a chair", "a car", "a mug"]
    assert queue.waits == [True] * 4
    assert notes == [("No run", "no room"), ("No run", "it has no result to show")]
    assert texts == ("20 splats after 1 steps: run", "a-mug")
    assert capsys.readouterr().err == "gs3d: no room\n"


def test_status_line_is_restored_after_a_failed_run(queue):
    queue.requests += [Asked("a chair", 0)]
    texts = in_viewer(fake_result(), UserError("no room"))[2]
    assert texts == ("20 splats after 1 steps: run", "a-tree")


@pytest.mark.parametrize(
    "outcomes, last",
    [
        ([fake_result("interrupted", signalled=True)], 0),
        # The signal came while the results were written.
        ([fake_result("finished", signalled=True)], 0),
        ([fake_result("diverged", has_asset=False)], 0),
        ([fake_result(), fake_result("interrupted", signalled=True)], 1),
        # Before the first iteration.
        ([fake_result(), KeyboardInterrupt()], None),
    ],
)
def test_signal_ends_the_queue(outcomes, last, queue):
    queue.requests += [Asked("a chair", 0), Asked("a car", 1)]
    result, prompts, _ = in_viewer(*outcomes)
    assert result is (None if last is None else outcomes[last])
    assert len(prompts) == len(outcomes)


@pytest.fixture
def ctrl_c():
    """Python's default handler of SIGINT. Background processes of a shell start without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_next_waits_for_a_request_or_ctrl_c(ctrl_c):
    with live._open_viewer(Request("a tree")) as (_, controls):
        assert controls.next(wait=False) is None
        threading.Timer(0.3, lambda: setattr(controls.make, "value", True)).start()
        assert controls.next(wait=True) == Asked("a tree", 0) and controls.next(wait=False) is None
        threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT)).start()
        assert controls.next(wait=True) is None


def test_next_run_keeps_the_settings_but_not_resume_and_start():
    settings = {"minutes": 2.0, "prior": "builtin", "mode": "mesh"}
    before = Request("a tree", **settings, resume=True, start=Path("splats.ply"))
    expected = Request("a chair", **settings, seed=5)
    assert live._request_for(Asked("a chair", 5), before) == expected


@pytest.mark.parametrize(
    "out, expected",
    [("runs/tree", "runs/a-chair-s5"), (".", "../a-chair-s5"), ("/", "/a-chair-s5")],
)
def test_next_run_goes_beside_the_last(out, expected, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    request = live._request_for(Asked("a chair", 5), Request("a tree", out=Path(out)))
    assert request.out.resolve() == Path(expected).resolve()


def test_form_accepts_a_negative_seed():
    with live._open_viewer(Request("a tree", seed=-1)) as (_, controls):
        controls.make.value = True
        assert controls.next(wait=False) == Asked("a tree", -1)


def test_port_in_use_is_replaced_by_a_free_one(monkeypatch):
    with contextlib.closing(listen("127.0.0.1", 0)) as sock:
        monkeypatch.setattr(live, "PORT", sock.getsockname()[1])
        with live._open_viewer(Request("a tree/house")) as (viewer, _):
            assert viewer.address != f"http://127.0.0.1:{live.PORT}/"
            assert viewer.name == "a-tree-house"


@pytest.mark.parametrize("cost", [0.0005, 0.01, 0.04, 0.3, 2.0])
def test_updates_take_at_most_five_percent_of_the_run(cost, monkeypatch):
    now, updates, command = [1000.0], [], ["continue"]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(live, "open_browser", lambda address: None)

    def show(splats, about, name):
        updates.append(now[0])
        now[0] += cost

    viewer = SimpleNamespace(show=show, address="")
    controls = SimpleNamespace(command=lambda: command[0])
    watch = live.watching(viewer, controls, "a-tree", lambda line: None)
    state = TrainState([Particle(twenty_splats())])
    for _ in range(4000):
        now[0] += 0.05
        watch(state)
    run_s = now[0] - 1000
    intervals = [later - earlier for earlier, later in zip(updates, updates[1:], strict=False)]
    assert updates[0] - 1000 >= 1.0 and all(interval >= 0.999 for interval in intervals)
    assert len(updates) * cost <= 0.05 * run_s + 1e-9
    assert len(updates) >= 0.8 * min(run_s / 1.1, 0.05 * run_s / cost) - 1
    before = len(updates)
    command[0], state.step = "pause", 4000
    for _ in range(10000):  # a pause does not count as time of the run
        now[0] += 0.1
        watch(state)
    assert len(updates) == before + 1
    command[0] = "continue"
    for _ in range(10):
        watch(state)
    assert len(updates) == before + 1


def test_other_representations_and_invalid_splats_are_not_shown(monkeypatch):
    monkeypatch.setattr(live, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(live, "open_browser", lambda address: None)
    updates = []
    viewer = SimpleNamespace(show=lambda *args: updates.append(args), address="")
    controls = SimpleNamespace(command=lambda: "continue")
    watch = live.watching(viewer, controls, "a-tree", lambda line: None)
    cloud = twenty_splats()
    with torch.no_grad():
        cloud.params["means"][:] = float("nan")
    for representation in (object(), object(), cloud, cloud):
        assert watch(TrainState([Particle(representation)])) == "continue"
    assert not updates
