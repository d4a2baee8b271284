"""`gs3d generate --viewer` without a browser: the same splats as without it, little time for it, and its buttons."""

import contextlib
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from tests.cli.test_main import one_line_fault, run

pytest.importorskip("viser")

from gs3d.cli.assets import view
from gs3d.cli.runs import live
from gs3d.core.errors import UserError  # noqa: E402
from gs3d.distill.step import TrainState  # noqa: E402
from gs3d.representations.gaussians.densify import DensifyConfig  # noqa: E402
from gs3d.representations.gaussians.gaussians import (
    GaussianConfig,  # noqa: E402
    Gaussians,  # noqa: E402
)
from gs3d.runs.request import Request  # noqa: E402
from gs3d.viewer.controls import Asked, RunControls  # noqa: E402
from gs3d.viewer.server import listen  # noqa: E402


@pytest.fixture
def command(tiny_builtin_folder, monkeypatch):
    """Of a run, but for its folder; every step is shown, and no browser opens."""
    monkeypatch.setattr(live, "EVERY_S", 0.0)
    monkeypatch.setattr(live, "SHARE", 1.0)
    monkeypatch.setattr(view.webbrowser, "open", lambda address: True)
    return [
        "generate",
        "a red mushroom",
        "--steps",
        "12",
        "--prior",
        str(tiny_builtin_folder),
        "--device",
        "cpu",
        "--config",
        "builtin",
    ]


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
    status, said, err = run(
        capsys, *command, "--out", str(tmp_path / "watched"), "--viewer", "--no-wait"
    )
    assert (
        (status, err) == (0, "")
        and "watch it at http://127.0.0.1:" in said
        and "(viser)" not in said
    )
    assert (
        len(shows) >= 10 and shows[0][1].endswith(" at step 1") and shows[0][2] == "a-red-mushroom"
    )
    assert (tmp_path / "alone" / "splats.ply").read_bytes() == (
        tmp_path / "watched" / "splats.ply"
    ).read_bytes()


@pytest.fixture
def waits(monkeypatch):
    """Instead of waiting for prompts or for Ctrl-C: the waits that there were, of which the i-th gives the i-th of `asked`."""
    asked, waits = [], []

    def next_one(controls, wait):
        waits.append(wait)
        return asked.pop(0) if asked else None

    monkeypatch.setattr(RunControls, "next", next_one)
    return SimpleNamespace(asked=asked, waits=waits)


def test_the_result_stays_until_ctrl_c(capsys, command, tmp_path, monkeypatch, waits):
    shows = spied(monkeypatch, "show")
    status, said, _ = run(capsys, *command, "--out", str(tmp_path / "run"), "--viewer")
    assert (
        status == 0
        and waits.waits == [True]
        and shows[-1][1].endswith(f" after 12 steps: {tmp_path / 'run'}")
    )
    assert "stays at http://127.0.0.1:" in said.splitlines()[-1]


def pressing(monkeypatch, press) -> list[RunControls]:
    """The controls of a run, for which `press(controls)` is called once its first splats are shown."""
    made, real = [], RunControls.__init__

    def keep(controls, *args):
        real(controls, *args)
        made.append(controls)

    pressed = []
    monkeypatch.setattr(RunControls, "__init__", keep)
    spied(monkeypatch, "show", lambda viewer, *_: pressed or pressed.append(press(made[0])))
    return made


def test_stop_and_export(capsys, command, tmp_path, monkeypatch, waits):
    def press(controls):
        controls.pause.value = True
        assert controls.wish() == "wait" and controls.pause.label == "Resume"
        controls.pause.value = True
        assert controls.wish() == "go on" and controls.pause.label == "Pause"
        controls.stop.value = True
        assert controls.wish() == "stop" and controls.pause.disabled and controls.stop.disabled

    pressing(monkeypatch, press)
    status, said, _ = run(capsys, *command, "--out", str(tmp_path / "run"), "--viewer")
    assert (
        status == 130
        and waits.waits == [True]
        and "after 1 steps" in said
        and (tmp_path / "run" / "turntable.mp4").exists()
    )


def test_prompts_that_are_asked_for_while_a_run_goes_are_made_after_it(
    capsys, command, tmp_path, monkeypatch
):
    def press(controls):
        for prompt, seed in (("a blue chair", 3), ("  ", 4), ("a tree", 0)):
            controls.prompt.value, controls.seed.value = prompt, seed
            controls.make.value = True
        assert controls.waiting.content == "1. a blue chair, seed 3\n2. a tree, seed 0"
        controls.stop.value = True  # this run, and none of those after it

    notes = spied(monkeypatch, "notify")
    controls = pressing(monkeypatch, press)
    (tmp_path / "a-tree-s0").mkdir()
    (tmp_path / "a-tree-s0" / "splats.ply").touch()
    status, said, err = run(
        capsys, *command, "--out", str(tmp_path / "run"), "--viewer", "--no-wait"
    )
    assert (status, err) == (130, "") and controls[0].waiting.content == ""
    assert notes == [
        (
            "No run",
            'prompt: it is empty; say what to make, such as "a red mushroom with white spots"',
        )
    ]
    records = [
        yaml.safe_load((tmp_path / name / "run.yaml").read_text())
        for name in ("run", "a-blue-chair-s3", "a-tree-s0-2")
    ]
    assert [(r["prompt"], r["seed"], r["result"]["steps"]) for r in records] == [
        ("a red mushroom", 0, 1),
        ("a blue chair", 3, 12),
        ("a tree", 0, 12),
    ]
    assert (
        said.index("next: 'a blue chair', seed 3") < said.index("next: 'a tree', seed 0")
        and said.count("watch it at") == 1
    )


def made_of(outcome="finished", asset="splats", signalled=False):
    """What a run leaves, as far as the viewer looks at it."""
    splats = (
        Gaussians.blob(GaussianConfig(count=20), 0, "cpu", DensifyConfig()).splats()
        if asset
        else None
    )
    return SimpleNamespace(
        asset=splats, outcome=outcome, signalled=signalled, steps=1, folder=Path("run")
    )


def in_viewer(*ends, wait=True):
    """What becomes of runs that end as said, one after the other: the result, the prompts that were made, and the viewer's last words."""
    prompts, left = [], list(ends)

    def make(request, watch_by, first):
        prompts.append(request.prompt)
        assert first == (len(prompts) == 1)
        if isinstance(end := left.pop(0), BaseException):
            raise end
        return end

    viewers = []
    real = live._open_viewer

    @contextlib.contextmanager
    def kept(request):
        with real(request) as (viewer, controls):
            yield viewer, controls
            viewers.append((viewer.about.content, viewer.name))

    live._open_viewer = kept
    try:
        return (
            live.in_viewer(Request("a tree"), make, wait),
            prompts,
            viewers[0] if viewers else None,
        )
    finally:
        live._open_viewer = real


@pytest.mark.parametrize("stopped", [True, False])
def test_a_run_that_cannot_be_is_said_and_the_last_one_stays(stopped, capsys, monkeypatch, waits):
    notes = spied(monkeypatch, "notify")
    waits.asked += [Asked("a chair", 0), Asked("a car", 1), Asked("a mug", 0)]
    first = made_of("interrupted" if stopped else "finished")
    result, prompts, said = in_viewer(
        first, UserError("no room"), made_of("diverged", None), made_of()
    )
    assert (
        result is first
        and prompts == ["a tree", "a chair", "a car", "a mug"]
        and waits.waits == [True] * 4
    )
    assert notes == [("No run", "no room"), ("No run", "it left nothing that can be shown")]
    assert (
        said == ("20 splats after 1 steps: run", "a-mug")
        and capsys.readouterr().err == "gs3d: no room\n"
    )


def test_what_is_said_of_a_refused_run_does_not_stay(waits):
    waits.asked += [Asked("a chair", 0)]
    assert in_viewer(made_of(), UserError("no room"))[2] == (
        "20 splats after 1 steps: run",
        "a-tree",
    )


@pytest.mark.parametrize(
    "ends, last",
    [
        ([made_of("interrupted", signalled=True)], 0),
        ([made_of("finished", signalled=True)], 0),  # it came while the files were written
        ([made_of("diverged", None)], 0),
        ([made_of(), made_of("interrupted", signalled=True)], 1),
        ([made_of(), KeyboardInterrupt()], None),  # before its first iteration
    ],
)
def test_a_signal_ends_the_runs(ends, last, waits):
    waits.asked += [Asked("a chair", 0), Asked("a car", 1)]
    result, prompts, _ = in_viewer(*ends)
    assert result is (None if last is None else ends[last]) and len(prompts) == len(ends)


@pytest.fixture
def ctrl_c():
    """Python's own answer to SIGINT, which what runs in the background of a shell does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_prompt_is_waited_for_until_there_is_one_or_ctrl_c(ctrl_c):
    with live._open_viewer(Request("a tree")) as (_, controls):
        assert controls.next(wait=False) is None
        threading.Timer(0.3, lambda: setattr(controls.make, "value", True)).start()
        assert controls.next(wait=True) == Asked("a tree", 0) and controls.next(wait=False) is None
        threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT)).start()
        assert controls.next(wait=True) is None


def test_the_next_run_has_the_same_settings_but_not_where_the_last_began():
    before = Request(
        "a tree", minutes=2.0, prior="builtin", mode="mesh", resume=True, start=Path("splats.ply")
    )
    assert live._request_for(Asked("a chair", 5), before) == Request(
        "a chair", minutes=2.0, prior="builtin", mode="mesh", seed=5
    )


@pytest.mark.parametrize(
    "out, expected",
    [("runs/tree", "runs/a-chair-s5"), (".", "../a-chair-s5"), ("/", "/a-chair-s5")],
)
def test_the_next_run_goes_beside_the_last(out, expected, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    made = live._request_for(Asked("a chair", 5), Request("a tree", out=Path(out))).out
    assert made.resolve() == Path(expected).resolve()


def test_any_seed_has_a_box():
    with live._open_viewer(Request("a tree", seed=-1)) as (_, controls):
        controls.make.value = True
        assert controls.next(wait=False) == Asked("a tree", -1)


def test_a_taken_port_is_no_reason_to_end_a_run(monkeypatch):
    with contextlib.closing(listen("127.0.0.1", 0)) as sock:
        monkeypatch.setattr(live, "PORT", sock.getsockname()[1])
        with live._open_viewer(Request("a tree/house")) as (viewer, _):
            assert (
                viewer.address != f"http://127.0.0.1:{live.PORT}/" and viewer.name == "a-tree-house"
            )


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

    def show(splats, about, name):
        shown.append(now[0])
        now[0] += cost

    watch = live.watching(
        SimpleNamespace(show=show, address=""),
        SimpleNamespace(wish=lambda: wish[0]),
        "a-tree",
        lambda line: None,
    )
    state = TrainState(Gaussians.blob(GaussianConfig(count=20), 0, "cpu", DensifyConfig()))
    for _ in range(4000):
        now[0] += 0.05
        watch(state)
    ran = now[0] - 1000
    assert shown[0] - 1000 >= 1.0 and all(
        later - earlier >= 0.999 for earlier, later in zip(shown, shown[1:], strict=False)
    )
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
    viewer, controls = (
        SimpleNamespace(show=lambda *args: shown.append(args), address=""),
        SimpleNamespace(wish=lambda: "go on"),
    )
    watch = live.watching(viewer, controls, "a-tree", lambda line: None)
    cloud = Gaussians.blob(GaussianConfig(count=20), 0, "cpu", DensifyConfig())
    with torch.no_grad():
        cloud.params["means"][:] = float("nan")
    for shape in (object(), object(), cloud, cloud):
        assert watch(TrainState(shape)) == "go on"
    assert not shown
