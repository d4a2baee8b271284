"""Runs with a loss of a file: their record, and that no record or config ever runs code."""

import dataclasses

import pytest
import yaml

from gs3d.core.errors import UserError
from gs3d.experiments.names import method_names
from gs3d.runs.history import read_record, representation_of
from gs3d.runs.prepare import prepare
from tests.distill.settings.test_own_loss import TEXT
from tests.guidance.test_loss_file import MINE
from tests.runs.running import FIELD_THEN_SURFACE, equal, generate, interrupt_after, log_rows

MARK = "import pathlib\npathlib.Path(__file__).with_name('was run').touch()\n"


@pytest.fixture
def own(splats_request, tmp_path):
    """A request with the loss `Mine` of a file that leaves a file "was run" when it is run."""
    (tmp_path / "mine.py").write_text(MINE.replace("import gs3d\n", f"import gs3d\n{MARK}"))
    guidance = f"{tmp_path}/mine.py:Mine"
    return dataclasses.replace(splats_request, guidance=guidance, steps=4)


def message_of(request, **changes) -> str:
    with pytest.raises(UserError) as caught:
        generate(dataclasses.replace(request, **changes))
    text = caught.value.for_command_line
    assert "\n" not in text
    return text


def test_run_is_recorded_and_resumed(own, tmp_path):
    own = dataclasses.replace(own, set=("losses.Mine.scale=3", "losses.Mine.kind=b"))
    whole = generate(dataclasses.replace(own, out=tmp_path / "whole"))
    record = read_record(whole.folder)
    assert record["config"]["guidance"] == "Mine"
    assert record["config"]["losses"] == {"Mine": {"scale": 3.0, "kind": "b"}}
    facts = record["guidance_file"]
    assert (facts["file"], facts["class"]) == (f"{tmp_path}/mine.py", "Mine")
    assert len(facts["sha256"]) == 64 and "python_objects" not in record
    assert representation_of(whole.folder) and method_names([record]) == ["Mine"]

    generate(own, report=interrupt_after(1))
    resumed = generate(dataclasses.replace(own, resume=True))
    assert resumed.steps == 4 and equal(resumed.splats, whole.splats)
    other = message_of(own, resume=True, set=("losses.Mine.scale=3",), steps=5)
    assert "that run has other settings (losses.Mine.kind: b -> a)" in other


@pytest.mark.parametrize("ended", [True, False])
def test_resume_wants_the_same_code_and_never_takes_it_from_a_record(own, tmp_path, ended):
    folder = generate(own, report=interrupt_after(1)).folder
    if not ended:  # as after a kill
        tree = yaml.safe_load((folder / "run.yaml").read_text())
        (folder / "run.yaml").write_text(yaml.safe_dump({**tree, "result": None}))
        (folder / "splats.ply").unlink()
    mark, file, again = tmp_path / "was run", tmp_path / "mine.py", {"resume": True}
    text = file.read_text()
    mark.unlink()
    file.write_text(text + "# a comment\n")
    assert prepare(dataclasses.replace(own, **again)).config.stages[0].guidance.scale == 2
    file.write_text(text.replace("self.scale *", "2 * self.scale *"))
    changed = message_of(own, **again)
    assert f"the code in {file} has changed since that run began; undo that" in changed
    mark.unlink()
    left_out = message_of(own, **again, guidance=None)
    assert f"that run used the loss Mine of {file}; a record does not run code" in left_out
    assert left_out.endswith(f"so repeat its --guidance {file}:Mine")
    assert f"that run used the loss Mine of {file};" in message_of(own, **again, guidance="cds")
    file.unlink()
    assert f"Mine of {file}, which is gone;" in message_of(own, **again, guidance=None)
    assert "mine.py cannot be read (No such file" in message_of(own, **again)
    assert not mark.exists()


def test_resume_of_a_run_without_a_file(own):
    generate(dataclasses.replace(own, guidance="cds", steps=1))
    text = message_of(own, resume=True)
    assert text.endswith(f"that run used no loss of a file; leave --guidance {own.guidance} out")


def test_config_of_such_a_run_wants_the_file_and_has_its_settings(own, tmp_path):
    record = generate(dataclasses.replace(own, set=("losses.Mine.scale=3",))).folder / "run.yaml"
    mark = tmp_path / "was run"
    mark.unlink()
    again = {"config": record, "out": tmp_path / "again"}
    text = message_of(own, **again, guidance=None)
    assert f"--config {record}: that run used the loss Mine of {tmp_path}/mine.py;" in text
    assert f"give --guidance {tmp_path}/mine.py:Mine if you trust that file" in text
    assert "has no settings for 'cds'" in message_of(own, **again, guidance="cds")
    assert not mark.exists()
    plan = prepare(dataclasses.replace(own, **again))
    assert plan.config.stages[0].guidance.scale == 3


@pytest.mark.parametrize("place", ["top", "stage", "losses", "base"])
def test_config_that_names_a_file_is_refused_and_never_run(own, tmp_path, place):
    name, texts = own.guidance, {}
    texts["top"] = f"guidance: {name}\n"
    texts["stage"] = f"stages:\n  - {{guidance: '{name}'}}\n"
    texts["losses"] = f"losses: {{'{name}': {{scale: 3}}}}\n"
    texts["base"] = "base: other.yaml\n"
    (tmp_path / "other.yaml").write_text(texts["top"])
    (tmp_path / "config.yaml").write_text(texts[place])
    text = message_of(own, guidance=None, config=tmp_path / "config.yaml")
    if place != "losses":
        assert text.endswith(f"no config may name code; if you trust it, give --guidance {name}")
    assert not (tmp_path / "was run").exists()


def test_settings_of_a_config_file_by_the_name_of_the_class(own, tmp_path):
    text = own.config.read_text().replace("losses:\n", "losses:\n  Mine: {scale: 7}\n")
    own.config.write_text(text)
    assert prepare(own).config.stages[0].guidance.scale == 7
    own.config.write_text(text.replace("scale: 7", "scal: 7"))
    assert "losses.Mine: unknown setting 'scal'; did you mean 'scale'?" in message_of(own)
    assert "losses: unknown setting 'Mine'" in message_of(own, guidance="cds")


def test_stages_have_settings_of_their_own(own, tmp_path):
    own.config.write_text(FIELD_THEN_SURFACE)
    change = ("stages.2.losses.Mine.scale=5",)
    stages = prepare(dataclasses.replace(own, set=change)).config.stages
    assert [stage.guidance.scale for stage in stages] == [2, 5]
    assert "the loss in use is Mine" in message_of(own, set=("losses.cds.cfg.start=5",))


def test_loss_that_returns_another_shape_is_named(own, tmp_path):
    text = (tmp_path / "mine.py").read_text()
    (tmp_path / "mine.py").write_text(text.replace("self.scale * z0", "z0[:1]"))
    where = f"--guidance: Mine ({tmp_path / 'mine.py'} line "
    message = message_of(own)
    assert message.startswith(where) and ") returned as grad a tensor [1, " in message


def test_loss_that_is_always_nan_diverges(own, tmp_path, no_results):
    text = (tmp_path / "mine.py").read_text()
    (tmp_path / "mine.py").write_text(text.replace("self.scale *", "float('nan') *"))
    result = generate(dataclasses.replace(own, steps=30))
    assert (result.outcome, result.steps) == ("diverged", 20)
    assert all(row["skipped"] for row in log_rows(result.folder))


def test_a_run_with_other_settings_of_the_preset_resumes_with_its_record(own, tmp_path):
    """As one from before a loss of a file began with the preset's settings."""
    text = TEXT.format(field="strength: float = 1.0", base="Distillation")
    (tmp_path / "mine.py").write_text(text)
    older = dataclasses.replace(own, set=("losses.Mine.cfg.start=7", "losses.Mine.pairs=false"))
    folder = generate(older, report=interrupt_after(1)).folder
    again = dataclasses.replace(own, resume=True)
    assert "that run has other settings" in message_of(again)
    assert generate(dataclasses.replace(again, config=folder / "run.yaml")).steps == 4
