"""Objects of a scene that are generated, by themselves and then together."""

from pathlib import Path

import pytest

import gs3d
from gs3d.cli.main import main
from gs3d.compose.generated import runs_of
from gs3d.compose.scene_file import Entry, SceneFile
from gs3d.compose.words import scene_of
from gs3d.core.errors import UserError
from gs3d.io import load_splats
from gs3d.ops.place import framed, place_of, unframed
from gs3d.runs.request import Request
from tests.compose.test_compose import box

TEXT = "a red ball on a green table"
FOLDER = Path("outputs/a-red-ball-on-a-green-table-s0")


def test_minutes_are_shared_out(tmp_path):
    runs = runs_of(scene_of(TEXT), tmp_path, Request("", minutes=10))
    assert [request.minutes for request in runs.objects.values()] == [4, 4]
    assert runs.together is not None and runs.together.minutes == 2
    assert runs.together.prompt == TEXT and runs.together.out == tmp_path / "together"
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
    assert runs.together is None and runs.folder(entries[0]) == tmp_path / "table.ply"
    # Files alone are never changed.
    assert runs_of(SceneFile(entries[:1], TEXT), tmp_path, Request("")).together is None


def test_object_named_like_the_folder_of_all_is_refused(tmp_path):
    entries = (Entry("together", prompt="a red ball"),)
    with pytest.raises(UserError, match="give another `name:`"):
        runs_of(SceneFile(entries), tmp_path, Request(""))


def test_refined_splats_go_back_to_where_the_scene_is():
    splats = box((2.0, 1.0, 0.5), center=(30.0, -4.0, 1.0))
    place = place_of(splats)
    back = unframed(framed(splats), place)
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
    before = (FOLDER / "scene/a-red-ball/run.yaml").read_bytes()
    assert main(["compose", TEXT, "--steps", "5", "-o", "again.spz"]) == 0
    assert capsys.readouterr().out.count(": is in ") == 3
    assert (FOLDER / "scene/a-red-ball/run.yaml").read_bytes() == before
    assert len(gs3d.load("again.spz")) == len(scene)


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
