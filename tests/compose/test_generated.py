"""Objects of a scene that are generated, by themselves and then together."""

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import yaml

import gs3d
from gs3d.cli.main import main
from gs3d.cli.runs import generate
from gs3d.compose.generated import runs_of
from gs3d.compose.scene_file import Entry, SceneFile
from gs3d.compose.words import scene_of
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import load_splats
from gs3d.ops.place import framed, place_of, unframed
from gs3d.runs import execute
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from tests.compose.test_compose import box

TEXT = "a red ball on a green table"
FOLDER = Path("outputs/scene-a-red-ball-on-a-green-table-s0")


def test_minutes_are_shared_out(tmp_path):
    runs = runs_of(scene_of(TEXT), tmp_path, Request("", minutes=10))
    assert [request.minutes for request in runs.objects.values()] == [4, 4]
    assert runs.together is not None and runs.together.minutes == 2
    assert runs.together.prompt == TEXT
    assert all(request.out == tmp_path / name for name, request in runs.objects.items())
    runs = runs_of(scene_of(TEXT), tmp_path, Request(""))
    assert runs.together is not None and runs.together.minutes == pytest.approx(0.2 * 6)


def test_steps_are_those_of_each_object(tmp_path):
    runs = runs_of(scene_of(TEXT), tmp_path, Request("", steps=100))
    assert [request.steps for request in runs.objects.values()] == [100, 100]
    assert runs.together is not None and runs.together.steps == 20


def test_objects_without_a_prompt_of_the_whole_are_not_refined_together(tmp_path):
    entries = (Entry("table", tmp_path / "table.ply"), Entry("ball", prompt="a red ball"))
    runs = runs_of(SceneFile(entries), tmp_path, Request("", minutes=10))
    assert list(runs.objects) == ["ball"] and runs.objects["ball"].minutes == 10
    assert runs.together is None and runs.source(entries[0]) == tmp_path / "table.ply"
    # Files alone are never changed.
    assert runs_of(SceneFile(entries[:1], TEXT), tmp_path, Request("")).together is None


@pytest.mark.parametrize("config", ["mesh", "builtin-two-stage", "builtin-scene"])
def test_config_that_does_not_end_in_splats_of_an_object_is_refused(tmp_path, config):
    with pytest.raises(UserError, match=f"config {config}: expected one that ends in splats"):
        runs_of(scene_of(TEXT), tmp_path, Request("", config=config))


def test_refined_splats_go_back_to_where_the_scene_is():
    splats = box((2.0, 1.0, 0.5), center=(30.0, -4.0, 1.0))
    place = place_of(splats)
    back = unframed(cast("Splats", framed(splats)), place)
    assert (back.means - splats.means).abs().max() < 1e-4
    assert (back.scales / splats.scales - 1).abs().max() < 1e-4


def test_text_becomes_a_scene_and_the_same_command_continues(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compose", TEXT, "--steps", "5"]) == 0
    out = capsys.readouterr().out
    assert (FOLDER / "scene.yaml").exists() and "of 2 objects -> " in out
    placed, scene = (load_splats(FOLDER / name) for name in ("scene/placed.ply", "scene.ply"))
    # Refined, and where it was.
    assert len(placed) == len(scene) and (placed.means - scene.means).abs().max() > 1e-6
    assert (placed.means.mean(0) - scene.means.mean(0)).norm() < 0.1
    assert out.rstrip().endswith(f"look at it: gs3d open {FOLDER / 'scene.ply'}")
    before = (FOLDER / "scene/a-red-ball/run.yaml").read_bytes()
    assert main(["compose", TEXT, "--steps", "4", "-o", "again.spz"]) == 0
    assert capsys.readouterr().out.count(": is in ") == 3
    assert (FOLDER / "scene/a-red-ball/run.yaml").read_bytes() == before
    assert len(gs3d.load("again.spz")) == len(scene)
    # What is moved is refined anew, from the same objects.
    path = FOLDER / "scene.yaml"
    path.write_text(path.read_text("utf-8").replace("size: 0.62", "size: 0.3"), "utf-8")
    assert main(["compose", str(path)]) == 0
    assert capsys.readouterr().out.count(": is in ") == 2
    smaller = load_splats(FOLDER / "scene.ply")
    assert smaller.means[:, 2].max() < scene.means[:, 2].max() - 0.1
    # With other settings the objects would not fit each other.
    assert main(["compose", str(path), "--steps", "5", "--seed", "1"]) == 2
    assert "--seed 1: the objects in" in capsys.readouterr().err
    assert main(["compose", str(path), "-o", str(FOLDER / "scene/a-red-ball/splats.ply")]) == 2
    assert "is among the objects of the scene" in capsys.readouterr().err


def test_objects_go_on_where_they_were_stopped(tmp_path, monkeypatch, capsys):
    """Ctrl-C in the second object; and a run that was killed before its first checkpoint."""
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text("objects: [{prompt: a red ball}, {prompt: a blue car}]")
    real, begun = execute.train, []

    def stopped(*args):
        begun.append(args)
        if len(begun) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*args)

    monkeypatch.setattr(execute, "train", stopped)
    assert main(["compose", "s.yaml", "--steps", "3"]) == 130
    out = capsys.readouterr().out
    assert "stopped; the same command continues" in out and not Path("s.ply").exists()
    shutil.rmtree("s/a-blue-car/checkpoint")
    Path("s/a-blue-car/splats.ply").unlink()
    assert main(["compose", "s.yaml", "--steps", "3"]) == 0
    out = capsys.readouterr().out
    assert "a red ball: is in s/a-red-ball" in out and Path("s.ply").exists()
    assert yaml.safe_load(Path("s/a-blue-car/run.yaml").read_text())["result"]["steps"] == 3


def test_minutes_of_the_first_run_alone_count_from_the_start_of_the_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked: list[bool] = []

    def show(request, progress, first):
        asked.append(first)
        return generate.execute(prepare(replace(request, minutes=None, steps=2)))

    monkeypatch.setattr(generate, "show", show)
    assert main(["compose", TEXT, "--minutes", "9"]) == 0
    assert asked == [True, False, False]


def test_whole_that_the_built_in_prior_does_not_know_is_not_refined(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compose", "a red ball behind a green table", "--steps", "2"]) == 0
    out = capsys.readouterr().out
    assert "are not optimized together" in out
    assert not list(tmp_path.rglob("together-*"))


def test_folder_of_another_prompt_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text("objects: [{prompt: a red ball, name: ball}]")
    Path("s/ball").mkdir(parents=True)
    Path("s/ball/run.yaml").write_text("prompt: a blue ball\n")
    assert main(["compose", "s.yaml", "--steps", "2"]) == 2
    error = capsys.readouterr().err
    assert "was made for 'a blue ball'" in error and len(error.splitlines()) == 1
    assert main(["compose", "a red ball", "--steps", "2"]) == 2
    assert main(["compose", TEXT, "--steps", "0"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2 and not Path("outputs").exists()
