"""`gs3d generate --viewer` without a browser: the same splats as without it, little time for it, and its buttons."""

import contextlib
import time
from types import SimpleNamespace

import pytest
import torch
from test_cli import one_line_fault, run

pytest.importorskip("viser")

from gs3d.cli import live, view  # noqa: E402 - they need viser
from gs3d.cli.serving import listen  # noqa: E402
from gs3d.representations.cloud import Cloud  # noqa: E402
from gs3d.representations.densify import DensifyConfig  # noqa: E402
from gs3d.representations.gaussians import GaussianConfig  # noqa: E402
from gs3d.training.step import TrainState  # noqa: E402


@pytest.fixture
def command(tiny_builtin_folder, monkeypatch):
    """Of a run, but for its folder; every step is shown, and no browser opens."""
    monkeypatch.setattr(live, "EVERY_S", 0.0)
    monkeypatch.setattr(live, "SHARE", 1.0)
    monkeypatch.setattr(view.webbrowser, "open", lambda address: True)
    return ["generate", "a red mushroom", "--steps", "12", "--prior", str(tiny_builtin_folder), "--device", "cpu", "--config", "builtin"]


def spied(monkeypatch, name: str, then=lambda viewer, *args: None) -> list:
    """The arguments of every call of a method of viewers, after which `then` is called."""
    calls, real = [], getattr(live.Viewer, name)

    def spy(viewer, *args):
        calls.append(args)
        real(viewer, *args)
        then(viewer, *args)

    monkeypatch.setattr(live.Viewer, name, spy)
    return calls


def test_the_splats_are_the_same_to_the_bit_as_without_it(capsys, command, tmp_path, monkeypatch):
    shows = spied(monkeypatch, "show")
    assert run(capsys, *command, "--out", str(tmp_path / "alone"))[0] == 0 and not shows
    status, said, err = run(capsys, *command, "--out", str(tmp_path / "watched"), "--viewer", "--no-wait")
    assert (status, err) == (0, "") and "watch it at http://127.0.0.1:" in said and "(viser)" not in said
    assert len(shows) >= 10 and shows[0][1].endswith(" at step 1")
    assert (tmp_path / "alone" / "splats.ply").read_bytes() == (tmp_path / "watched" / "splats.ply").read_bytes()


def test_the_result_stays_until_ctrl_c(capsys, command, tmp_path, monkeypatch):
    shows, waits = spied(monkeypatch, "show"), []
    monkeypatch.setattr(live, "wait_for_ctrl_c", lambda: waits.append(len(shows)))
    status, said, _ = run(capsys, *command, "--out", str(tmp_path / "run"), "--viewer")
    assert status == 0 and waits == [len(shows)] and shows[-1][1].endswith(f" after 12 steps: {tmp_path / 'run'}")
    assert "stays at http://127.0.0.1:" in said.splitlines()[-1]


def test_stop_and_export(capsys, command, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(live, "wait_for_ctrl_c", lambda: waits.append(1))

    def press(viewer, *_):
        if not waits and viewer.wish() != "stop":
            pause, stop = viewer._run_buttons
            pause.value = True
            assert viewer.wish() == "wait" and pause.label == "Resume"
            pause.value = True
            assert viewer.wish() == "go on" and pause.label == "Pause"
            stop.value = True
            assert viewer.wish() == "stop" and pause.disabled and stop.disabled

    spied(monkeypatch, "show", press)
    status, said, _ = run(capsys, *command, "--out", str(tmp_path / "run"), "--viewer")
    assert status == 130 and waits == [1] and "after 1 steps" in said and (tmp_path / "run" / "turntable.mp4").exists()


def test_a_run_that_ctrl_c_ended_does_not_stay():
    viewer, made = SimpleNamespace(wish=lambda: "go on"), object()
    for outcome in ("interrupted", "terminated"):
        live.show_result(viewer, SimpleNamespace(made=made, outcome=outcome), print)
    live.show_result(viewer, SimpleNamespace(made=None, outcome="finished"), print)  # would need more of a viewer


def test_a_taken_port_is_no_reason_to_end_a_run(monkeypatch):
    with contextlib.closing(listen("127.0.0.1", 0)) as sock:
        monkeypatch.setattr(live, "PORT", sock.getsockname()[1])
        with live.live_viewer("a tree/house") as viewer:
            assert viewer.address != f"http://127.0.0.1:{live.PORT}/" and viewer.name == "a-tree-house"


def test_without_viser_no_run_begins(capsys, command, tmp_path, monkeypatch):
    monkeypatch.setattr(view, "find_spec", lambda name: None)
    fault = one_line_fault(capsys, *command, "--out", str(tmp_path / "run"), "--viewer")
    assert fault == 'gs3d: gs3d generate --viewer needs viser: pip install "gs3d[view]"\n'
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("cost", [0.0005, 0.01, 0.04, 0.3, 2.0])
def test_showing_takes_a_twentieth_of_the_run_at_most(cost, monkeypatch):
    now, shown, wish = [1000.0], [], ["go on"]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(live, "open_browser", lambda address: None)

    def show(splats, about):
        shown.append(now[0])
        now[0] += cost

    watch = live.watching(SimpleNamespace(show=show, wish=lambda: wish[0], address=""), lambda line: None)
    state = TrainState(Cloud.start(GaussianConfig(count=20), DensifyConfig(), 0, "cpu"))
    for _ in range(4000):
        now[0] += 0.05
        watch(state)
    ran = now[0] - 1000
    assert shown[0] - 1000 >= 1.0 and all(later - earlier >= 0.999 for earlier, later in zip(shown, shown[1:], strict=False))
    assert len(shown) * cost <= 0.05 * ran + 1e-9
    assert len(shown) >= 0.8 * min(ran / 1.1, 0.05 * ran / cost) - 1
    before = len(shown)
    wish[0], state.step = "wait", 4000
    for _ in range(10000):  # a pause is no time of the run
        now[0] += 0.1
        watch(state)
    assert len(shown) == before + 1
    wish[0] = "go on"
    for _ in range(10):
        watch(state)
    assert len(shown) == before + 1


def test_nothing_is_shown_of_what_is_no_splats_or_has_none(monkeypatch):
    monkeypatch.setattr(live, "EVERY_S", 0.0)
    monkeypatch.setattr(live, "open_browser", lambda address: None)
    shown = []
    watch = live.watching(SimpleNamespace(show=lambda *args: shown.append(args), wish=lambda: "go on", address=""), lambda line: None)
    cloud = Cloud.start(GaussianConfig(count=20), DensifyConfig(), 0, "cpu")
    with torch.no_grad():
        cloud.gaussians.params["means"][:] = float("nan")
    for shape in (object(), object(), cloud, cloud):
        assert watch(TrainState(shape)) == "go on"
    assert not shown
