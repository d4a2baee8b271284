"""Names of output directories, and which one a run resumes."""

import os
from pathlib import Path

import pytest
import yaml

from gs3d.core.errors import UserError
from gs3d.runs.folders import clean_up, default_folder, pick_folder, slug
from gs3d.runs.lock import locked


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a red mushroom", "a-red-mushroom"),
        ("A DSLR photo, of a Corgi!", "a-dslr-photo-of-a-corgi"),
        ("红色蘑菇", "红色蘑菇"),
        ("красный гриб", "красный-гриб"),
        ("लाल मशरूम", "लाल-मशरूम"),
        ("cafe\u0301", "café"),
        ("../../etc", "etc"),
    ],
)
def test_names_keep_letters_of_any_script(prompt, name):
    assert slug(prompt) == name


def test_long_names_and_prompts_without_letters_have_digits_of_a_hash():
    names = {
        slug("a very " * 20 + "red car"),
        slug("a very " * 20 + "blue car"),
        slug("🍄"),
        slug("🚗"),
    }
    assert len(names) == 4
    for name in (*names, slug("蘑菇" * 80), slug("a" * 300)):
        assert len(name) <= 60 and len(os.fsencode(name)) <= 180
    assert slug("🍄").startswith("prompt-")


def test_names_for_file_systems_without_other_letters(monkeypatch):
    monkeypatch.setattr("os.fsencode", lambda name: name.encode("ascii"))
    assert slug("a red mushroom") == "a-red-mushroom"
    assert slug("红色蘑菇").startswith("prompt-") and slug("红色蘑菇") != slug("蓝色汽车")


def record(folder, prompt):
    folder.mkdir(parents=True)
    (folder / "run.yaml").write_text(yaml.safe_dump({"prompt": prompt}), "utf-8")


def test_resume_finds_the_run_of_its_own_prompt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = default_folder("a cat, red", 0)
    assert default_folder("a cat red", 0) == first
    record(first, "a cat, red")
    assert pick_folder("a cat red", 0, None, resume=True).name == "a-cat-red-s0-2"
    record(first.with_name("a-cat-red-s0-2"), "a cat red")
    assert pick_folder("a cat, red", 0, None, resume=True) == first
    assert pick_folder("a cat red", 0, None, resume=True).name == "a-cat-red-s0-2"
    assert pick_folder("a cat red", 0, None, resume=False).name == "a-cat-red-s0-3"


def test_resume_takes_a_run_without_a_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = default_folder("a cat", 0)
    (folder / "checkpoint").mkdir(parents=True)
    assert pick_folder("a cat", 0, None, resume=True) == folder


def test_resume_finds_a_run_whose_first_folder_is_gone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("red-s0-2", "red-s0-10"):
        (tmp_path / "outputs" / name).mkdir(parents=True)
        (tmp_path / "outputs" / name / "run.yaml").write_text("prompt: red\n")
    assert pick_folder("red", 0, None, resume=True) == Path("outputs/red-s0-10")
    assert pick_folder("red", 0, None, resume=False) == Path("outputs/red-s0-11")


def test_clean_up_deletes_what_a_killed_run_left_and_nothing_else(tmp_path):
    left = (
        ".splats.ply.12-0123abcd.tmp",
        ".stage-1.ply.12-0123abcd.tmp",
        "checkpoint/step_0000012.tmp",
        "start/.splats.ply.12-0123abcd.tmp",
        "particle-2/.turntable.mp4.1234567-01234567.tmp",
    )
    kept = (
        ".car.glb.12-0123abcd.tmp",  # another command may be writing it
        ".splats.ply.tmp",
        "another/.splats.ply.12-0123abcd.tmp",
        "splats.ply",
        "checkpoint/step_0000010.safetensors",
    )
    for name in (*left, *kept):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    clean_up(tmp_path)
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == {tmp_path / name for name in kept}


def test_a_lock_holds_if_the_run_before_ends_while_it_is_taken(tmp_path, monkeypatch):
    import fcntl

    flock, calls = fcntl.flock, []

    def late(file, operation) -> None:
        if not calls:
            Path(file.name).unlink()  # as the run before does at its end
        calls.append(operation)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with (
        locked(tmp_path),
        pytest.raises(UserError, match="another run is writing there"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        assert len(calls) > 2
    assert not list(tmp_path.iterdir())
