"""`gs3d generate --viewer` without a browser: same splats as without it, buttons, next runs."""

import pytest
import yaml

from gs3d.cli.assets import view
from gs3d.viewer.controls import RunControls
from tests.cli.commands import one_line_fault, run
from tests.cli.runs.viewing import live, recorded_calls


@pytest.fixture
def command(tiny, monkeypatch):
    """A run with an output directory. The viewer shows every step; no browser opens."""
    monkeypatch.setattr(live, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(live, "MAX_SHARE", 1.0)
    monkeypatch.setattr(view.webbrowser, "open", lambda address: True)
    return ["generate", "a red mushroom", "--steps", "12", *tiny]


def test_viewer_does_not_change_the_splats(capsys, command, tmp_path, monkeypatch):
    shows = recorded_calls(monkeypatch, "show")
    assert run(capsys, *command, "--out", str(tmp_path / "without"))[0] == 0 and not shows
    options = ["--out", str(tmp_path / "with"), "--viewer", "--no-wait"]
    status, out, err = run(capsys, *command, *options)
    assert (status, err) == (0, "")
    assert "watch it at http://127.0.0.1:" in out and "(viser)" not in out
    assert len(shows) >= 10
    assert shows[0][1].endswith(" at step 1") and shows[0][2] == "a-red-mushroom"
    without, with_viewer = (tmp_path / name / "splats.ply" for name in ("without", "with"))
    assert without.read_bytes() == with_viewer.read_bytes()


def test_result_is_shown_until_ctrl_c(capsys, command, tmp_path, monkeypatch, queue):
    shows = recorded_calls(monkeypatch, "show")
    status, out, _ = run(capsys, *command, "--viewer")
    assert status == 0 and queue.waits == [True]
    assert shows[-1][1].endswith(f" after 12 steps: {tmp_path / 'run'}")
    assert "stays at http://127.0.0.1:" in out.splitlines()[-1]


def press_during_run(monkeypatch, press) -> list[RunControls]:
    """Call `press(controls)` once, after the first splats are shown. Returns the controls."""
    created, real = [], RunControls.__init__

    def keep(controls, *args):
        real(controls, *args)
        created.append(controls)

    pressed = []
    monkeypatch.setattr(RunControls, "__init__", keep)

    def press_once(viewer, *_):
        if not pressed:
            pressed.append(True)
            press(created[0])

    recorded_calls(monkeypatch, "show", press_once)
    return created


def test_pause_and_stop_buttons(capsys, command, tmp_path, monkeypatch, queue):
    def press(controls):
        controls.pause.value = True
        assert controls.command() == "pause" and controls.pause.label == "Resume"
        controls.pause.value = True
        assert controls.command() == "continue" and controls.pause.label == "Pause"
        controls.stop.value = True
        assert controls.command() == "stop" and controls.pause.disabled and controls.stop.disabled

    press_during_run(monkeypatch, press)
    status, out, _ = run(capsys, *command, "--viewer")
    assert status == 130 and queue.waits == [True] and "after 1 steps" in out
    assert (tmp_path / "run" / "turntable.mp4").exists()


def test_prompts_entered_during_a_run_are_generated_after_it(
    capsys, command, tmp_path, monkeypatch
):
    def press(controls):
        for prompt, seed in (("a blue chair", 3), ("  ", 4), ("a tree", 0)):
            controls.prompt.value, controls.seed.value = prompt, seed
            controls.make.value = True
        assert controls.waiting.content == "1. a blue chair, seed 3\n2. a tree, seed 0"
        controls.stop.value = True  # stops this run only

    notes = recorded_calls(monkeypatch, "notify")
    controls = press_during_run(monkeypatch, press)
    used = tmp_path / "a-tree-s0"
    used.mkdir()
    (used / "splats.ply").touch()
    status, out, err = run(capsys, *command, "--viewer", "--no-wait")
    assert (status, err) == (130, "") and controls[0].waiting.content == ""
    assert len(notes) == 1 and notes[0][0] == "No run"
    assert notes[0][1].startswith("prompt: it is empty")
    records = [
        yaml.safe_load((tmp_path / name / "run.yaml").read_text())
        for name in ("run", "a-blue-chair-s3", "a-tree-s0-2")
    ]
    assert [(r["prompt"], r["seed"], r["result"]["steps"]) for r in records] == [
        ("a red mushroom", 0, 1),
        ("a blue chair", 3, 12),
        ("a tree", 0, 12),
    ]
    assert out.index("next: 'a blue chair', seed 3") < out.index("next: 'a tree', seed 0")
    assert out.count("watch it at") == 1


def test_missing_viser_is_reported_before_the_run(capsys, command, tmp_path, monkeypatch):
    monkeypatch.setattr(view, "find_spec", lambda name: None)
    message = one_line_fault(capsys, *command, "--viewer")
    assert message == 'gs3d: gs3d generate --viewer needs viser: pip install "gs3d[view]"\n'
    assert not (tmp_path / "run").exists()
