"""`gs3d evaluate` from its arguments to its report, with a tiny prior."""

import json
import sys

import pytest

from gs3d.evaluation.classifier import Classifier
from gs3d.evaluation.grade import check_words
from gs3d.evaluation.prompts import read_prompts, shipped
from gs3d.experiments import sweep
from gs3d.experiments.names import method_names
from tests.cli.commands import one_line_fault, run
from tests.small import GS3D
from tests.sweeps import use_few_references, use_quick_sweeps


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a red duck\n\na red duck\na blue chair\n")
    return str(path)


@pytest.fixture
def tiny_evaluation(prompts, tiny_builtin_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "GS3D", GS3D)
    folders = ["--prior", str(tiny_builtin_folder), "--out", str(tmp_path / "out")]
    return ["evaluate", prompts, "--methods", "cds", "--steps", "1", *folders]


def read(folder) -> dict:
    """evaluation.json with rounded numbers: the order of a sum may change their last digits."""
    text = (folder / "evaluation.json").read_text()
    return json.loads(text, parse_float=lambda digits: round(float(digits), 6))


def grades(folder) -> dict[str, dict]:
    return {row["prompt"]: row["grade"] for row in read(folder)["results"]}


def test_evaluation_continues_and_is_graded_again(
    capsys, monkeypatch, tiny_evaluation, tiny_clip_folder, tmp_path
):
    use_few_references(monkeypatch)
    out = tmp_path / "out"
    splats = out / "runs" / "a-red-duck" / "cds-s0" / "splats.ply"

    # The first of two runs, in a process of its own, then the missing one.
    status, text, _ = run(capsys, *tiny_evaluation, "--limit", "1")
    assert status == 0 and "runs to make: 1 of 2" in text and "repeated prompts left out: 1" in text
    use_quick_sweeps(monkeypatch)
    written = splats.stat().st_mtime_ns
    status, text, _ = run(capsys, *tiny_evaluation)
    assert status == 0 and splats.stat().st_mtime_ns == written
    assert "runs to make: 1 of 2, 1 are there" in text and "2/2  a blue chair, cds, seed 0" in text
    assert "| cds |" in text
    tree = read(out)
    assert [row["prompt"] for row in tree["results"]] == ["a red duck", "a blue chair"]
    assert tree["summary"]["cds"]["n"] == 2
    for row in tree["results"]:
        assert row["seconds"] > 0 and row["memory_mb"] > 50 and row["grade"]["chamfer"] is not None
    assert "a blue chair" in (out / "report.html").read_text() and (out / "sheet.png").exists()

    # Without results, the existing runs are graded again.
    (out / "evaluation.json").write_text("{")
    status, text, _ = run(capsys, *tiny_evaluation)
    assert status == 0 and "runs to make: 0 of 2, 2 are there" in text
    assert read(out) == tree
    message = one_line_fault(capsys, *tiny_evaluation, "--config", "builtin-dreamgaussian")
    expected = "contains results with config builtin, not config builtin-dreamgaussian; choose"
    assert expected in message

    # The same runs with --from.
    runs = [str(p) for p in sorted((out / "runs").glob("*/*"))]
    again = ["--out", str(tmp_path / "again")]
    status, text, _ = run(capsys, "evaluate", "--from", *runs, str(tmp_path), *again)
    assert status == 0 and f"{tmp_path}: left out; it is not the folder of a finished run" in text
    assert grades(tmp_path / "again") == grades(out)
    message = one_line_fault(capsys, "evaluate", "--from", *runs, "--out", str(out))
    assert "choose another --out" in message
    assert read(out) == tree

    # With a CLIP model as the scorer.
    clip = ["--scorer", str(tiny_clip_folder), "--out", str(tmp_path / "clip")]
    status, _, _ = run(capsys, "evaluate", "--from", *runs, *clip)
    assert status == 0
    for grade in grades(tmp_path / "clip").values():
        assert 0 <= grade["r_precision"] <= 1 and -1 <= grade["clip_similarity"] <= 1


def test_reason_of_a_failed_run_is_printed(
    capsys, monkeypatch, prompts, tiny_builtin_folder, tmp_path
):
    program = "import sys; print('step 1'); sys.exit('gs3d: nothing is left')"
    monkeypatch.setattr(sweep, "GS3D", (sys.executable, "-c", program))
    options = ["--methods", "sds", "--minutes", "1", "--limit", "1"]
    folders = ["--prior", str(tiny_builtin_folder), "--out", str(tmp_path / "out")]
    status, out, _ = run(capsys, "evaluate", prompts, *options, *folders)
    assert status == 2 and "failed: a red duck, sds, seed 0: gs3d: nothing is left" in out


def record(**changes) -> dict:
    """The record of a run with CDS and changed settings."""
    config = {"guidance": "cds", "batch": 4, "losses": {"cds": {"cfg": {"start": 11.0}}}}
    budget = {"minutes": 3.0, "steps": None}
    return {**budget, "prior": {"name": "builtin"}, "config": config | changes}


def staged_record(*stages: dict, minutes: float = 3.0) -> dict:
    return record() | {"config": {"stages": list(stages)}, "minutes": minutes}


def test_existing_runs_are_named_by_their_different_settings():
    records = [
        record(),
        record(losses={"cds": {"cfg": {"start": 20.0}}}),
        record(batch=8),
        record(guidance="sds", losses={"sds": {}}),
        record(),
    ]
    other = "cds,losses.cds.cfg.start=20.0"
    assert method_names(records) == ["cds", other, "cds,batch=8", "sds", "cds"]
    pairs = ((11.0, 4), (20.0, 4), (11.0, 8), (11.0, 4))
    complete = [f"cds,losses.cds.cfg.start={start},batch={batch}" for start, batch in pairs]
    assert method_names(records, of_all=True) == [*complete[:3], "sds", complete[3]]


def test_existing_runs_are_named_by_their_loras_and_starts():
    def lora(digits, weight):
        return {"name": "some/style.safetensors", "weight": weight, "sha256": digits * 64}

    def with_loras(*loras):
        return record() | {"prior": {"name": "sd15", "lora": list(loras)}}

    sds = record(guidance="sds", losses={"sds": {}})
    records = [record(), record() | {"start": "builtin"}, sds | {"start": "a.ply"}]
    assert method_names(records) == ["cds", "cds,start=builtin", "sds,start=a.ply"]
    names = ["cds,start=None", "cds,start=builtin", "sds,start=a.ply"]
    assert method_names(records, of_all=True) == names

    plain = record() | {"prior": {"name": "sd15"}}
    first, second = with_loras(lora("a", 0.5)), with_loras(lora("a", 0.5), lora("b", 1.0))
    names = ["style.safetensors:0.5", "style.safetensors:0.5+style.safetensors:1.0"]
    expected = ["cds", *(f"cds,lora={name}" for name in names)]
    assert method_names([plain, first, second]) == expected
    # Files of one name with other content.
    expected = [f"cds,lora={names[0]}@{digits}" for digits in ("aaaaaa", "bbbbbb")]
    found = method_names([plain, first, with_loras(lora("b", 0.5))])
    assert found == ["cds", *expected]


def test_damaged_records_have_names_too():
    wrong = {"prior": "x", "guidance_file": [1], "start": {"a": 1}}
    assert method_names([record() | wrong, record() | {"prior": {"lora": 3}}])[0] == "cds"


def test_existing_runs_with_losses_of_files_are_named_by_settings_and_code():
    def own(scale, digits):
        tree = record(guidance="Mine", losses={"Mine": {"scale": scale}})
        return tree | {"guidance_file": {"file": "/a/mine.py", "code_sha256": digits * 64}}

    assert method_names([own(2.0, "a"), own(3.0, "a")]) == ["Mine", "Mine,losses.Mine.scale=3.0"]
    other = "Mine,guidance_file=/a/mine.py@bbbbbb"
    assert method_names([own(2.0, "a"), own(2.0, "b")]) == ["Mine", other]


def test_existing_runs_with_stages_are_named_by_stage():
    one, other = ({"guidance": "cds", "batch": batch} for batch in (4, 8))
    sds = {"guidance": "sds", "batch": 4}
    records = [staged_record(one, one), staged_record(one, other), staged_record(one, sds)]
    assert method_names(records) == ["cds", "cds,stages.2.batch=8", "cds+sds"]


def test_runs_with_other_representations_are_named_by_these():
    """Nearly every setting of such runs differs, so their names do not list the settings."""
    meshes = [{"guidance": "cds", "representation": shape} for shape in ("splats", "dmtet")]
    mixed = [staged_record(*meshes), staged_record(*meshes, minutes=9.0)]
    names = method_names([record(), *mixed, record(batch=8)])
    assert names[::3] == ["cds", "cds,batch=8"]
    assert names[1].startswith("cds,stages=splats+dmtet") and "stages.1" not in names[1]
    assert names[2] == names[1].replace("dmtet", "dmtet,minutes=9.0")


@pytest.mark.parametrize("name", shipped())
def test_classifier_knows_the_words_of_the_shipped_prompts(name):
    classifier = Classifier.load()
    for meaning in read_prompts(name).meanings.values():
        check_words(meaning, classifier)


@pytest.mark.parametrize(
    "arguments,expected",
    [
        ([], "PROMPTS: expected, before any option, a file of prompts"),
        (["none.txt"], "prompts 'none.txt': no such file"),
        (["tuning", "--from", "x"], "PROMPTS and --from: give one of them"),
        (["--from", "nowhere"], "none of these folders holds a run that can be graded"),
        (["--from", "nowhere", "--minutes", "1"], "--minutes: applies to new runs"),
        (["--methods", "cds", "tuning"], "before any option"),
        (["LIST", "--out", "/proc/no"], "--out /proc/no: cannot be written"),
        (["tuning", "more"], "expected"),
        (["LIST", "--methods"], "--methods: expected one or more, got nothing"),
        (["LIST", "--methods", "vds"], "unknown loss 'vds'"),
        (["LIST", "--methods", "builtin-dreamfuson"], "did you mean 'builtin-dreamfusion'"),
        (["LIST", "--methods", "cds,", "noise=fixed"], "no space between them, such as sds,noise="),
        (["LIST", "--methods", "cds,cgf.start=3"], "unknown setting 'cgf.start'; did you mean"),
        (["LIST", "--methods", "cds,cfg.start"], "expected PATH=VALUE"),
        (["LIST", "--seeds", "0", "one"], "--seeds: expected a whole number, got 'one'"),
        (["LIST", "--minutes", "0"], "--minutes: expected a number above 0"),
        (["LIST", "--minutes", "1", "--steps", "1"], "--minutes or --steps"),
        (["LIST", "--limit", "0"], "--limit: expected 1 or more"),
        (["LIST", "--at-once", "1000"], "--at-once: expected 1 to"),
        (
            ["LIST", "--scorer", "/no/such/clip"],
            "--scorer /no/such/clip: no CLIP model that can be read",
        ),
        (["LIST", "--prior", "no-such-prior"], "no-such-prior"),
    ],
)
def test_invalid_arguments(capsys, prompts, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    argv = [prompts if word == "LIST" else word for word in arguments]
    assert expected in one_line_fault(capsys, "evaluate", *argv)
    assert not (tmp_path / "outputs").exists()
