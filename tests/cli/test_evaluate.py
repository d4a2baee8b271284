"""`gs3d evaluate` from its arguments to its report, with a tiny prior."""

import json

import pytest

from gs3d.evaluation.classifier import Classifier
from gs3d.evaluation.grade import check_words
from gs3d.evaluation.prompts import read_prompts, shipped
from gs3d.runs.history import method_names
from tests.cli.test_main import one_line_fault, run


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a red duck\n\na red duck\na blue chair\n")
    return str(path)


@pytest.fixture
def tiny_evaluation(tiny_builtin_folder, tmp_path):
    return ["--steps", "1", "--prior", str(tiny_builtin_folder), "--out", str(tmp_path / "out")]


def test_an_evaluation_is_made_goes_on_and_can_be_graded_again(
    capsys, prompts, tiny_evaluation, tiny_clip_folder, tmp_path
):
    out = tmp_path / "out"
    status, said, _ = run(
        capsys, "evaluate", prompts, "--methods", "cds", *tiny_evaluation, "--limit", "1"
    )
    assert status == 0 and "runs to make: 1 of 2" in said and "repeated prompts left out: 1" in said
    first = (out / "runs" / "a-red-duck" / "cds-s0" / "splats.ply").stat().st_mtime_ns
    status, said, _ = run(capsys, "evaluate", prompts, "--methods", "cds", *tiny_evaluation)
    assert (
        status == 0
        and "runs to make: 1 of 2, 1 are there" in said
        and "2/2  a blue chair, cds, seed 0" in said
    )
    assert (out / "runs" / "a-red-duck" / "cds-s0" / "splats.ply").stat().st_mtime_ns == first
    tree = json.loads((out / "evaluation.json").read_text())
    assert [row["prompt"] for row in tree["results"]] == ["a red duck", "a blue chair"] and tree[
        "summary"
    ]["cds"]["n"] == 2
    assert all(
        row["seconds"] > 0 and row["memory_mb"] > 50 and row["grade"]["chamfer"] is not None
        for row in tree["results"]
    )
    assert "a blue chair" in (out / "report.html").read_text() and (out / "sheet.png").exists()
    assert "| cds |" in said

    (out / "evaluation.json").write_text("{")  # the runs are there: they are graded anew
    status, said, _ = run(capsys, "evaluate", prompts, "--methods", "cds", *tiny_evaluation)
    assert status == 0 and "runs to make: 0 of 2, 2 are there" in said
    assert json.loads((out / "evaluation.json").read_text()) == tree
    assert "choose another --out" in one_line_fault(
        capsys, "evaluate", prompts, *tiny_evaluation, "--config", "preview"
    )

    runs = [str(p) for p in sorted((out / "runs").glob("*/*"))]
    status, said, _ = run(
        capsys, "evaluate", "--from", *runs, str(tmp_path), "--out", str(tmp_path / "again")
    )
    assert status == 0 and f"{tmp_path}: left out; it is not the folder of a finished run" in said
    again = json.loads((tmp_path / "again" / "evaluation.json").read_text())
    grades = {row["prompt"]: row["grade"] for row in tree["results"]}
    assert {row["prompt"]: row["grade"] for row in again["results"]} == grades
    assert "choose another --out" in one_line_fault(
        capsys, "evaluate", "--from", *runs, "--out", str(out)
    )
    assert json.loads((out / "evaluation.json").read_text()) == tree

    status, said, _ = run(
        capsys,
        "evaluate",
        "--from",
        *runs,
        "--scorer",
        str(tiny_clip_folder),
        "--out",
        str(tmp_path / "clip"),
    )
    marks = [
        row["grade"]
        for row in json.loads((tmp_path / "clip" / "evaluation.json").read_text())["results"]
    ]
    assert status == 0 and all(
        0 <= m["r_precision"] <= 1 and -1 <= m["clip_similarity"] <= 1 for m in marks
    )


def test_why_a_run_left_nothing_is_said(capsys, prompts, tiny_builtin_folder, tmp_path):
    given = [
        "--minutes",
        "0.01",
        "--prior",
        str(tiny_builtin_folder),
        "--out",
        str(tmp_path / "out"),
        "--limit",
        "1",
    ]
    status, said, _ = run(capsys, "evaluate", prompts, "--methods", "sds", *given)
    assert (
        status == 2
        and "failed: a red duck, sds, seed 0: " in said
        and "nothing is left for the first iteration" in said
    )


def test_runs_made_before_are_methods_by_what_is_different_about_them():
    def record(**changes):
        config = {"guidance": "cds", "batch": 4, "losses": {"cds": {"cfg": {"start": 11.0}}}}
        return {
            "minutes": 3.0,
            "steps": None,
            "prior": {"name": "builtin"},
            "config": config | changes,
        }

    other = record(losses={"cds": {"cfg": {"start": 20.0}}})
    records = [
        record(),
        other,
        record(batch=8),
        record(guidance="sds", losses={"sds": {}}),
        record(),
    ]
    assert method_names(records) == [
        "cds",
        "cds,losses.cds.cfg.start=20.0",
        "cds,batch=8",
        "sds",
        "cds",
    ]
    told = [
        f"cds,losses.cds.cfg.start={start},batch={batch}"
        for start, batch in ((11.0, 4), (20.0, 4), (11.0, 8), (11.0, 4))
    ]
    assert method_names(records, of_all=True) == [*told[:3], "sds", told[3]]
    one, other = ({"guidance": "cds", "batch": batch} for batch in (4, 8))
    several = [
        record() | {"config": {"stages": stages}}
        for stages in ([one, one], [one, other], [one, {"guidance": "sds", "batch": 4}])
    ]
    assert method_names(several) == ["cds", "cds,stages.2.batch=8", "cds+sds"]
    # Of stages of other shapes nearly every setting is different, and their names say enough.
    meshes = [{"guidance": "cds", "representation": shape} for shape in ("splats", "dmtet")]
    mixed = [
        record(),
        *(record() | {"config": {"stages": meshes}, "minutes": minutes} for minutes in (3.0, 9.0)),
        record(batch=8),
    ]
    names = method_names(mixed)
    assert names[::3] == ["cds", "cds,batch=8"]
    assert names[1].startswith("cds,stages=splats+dmtet") and "stages.1" not in names[1]
    assert names[2] == names[1].replace("dmtet", "dmtet,minutes=9.0")


@pytest.mark.parametrize("name", shipped())
def test_the_classifier_knows_what_the_shipped_lists_ask_for(name):
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
        (["--from", "nowhere", "--minutes", "1"], "--minutes: says how runs are made"),
        (["--methods", "cds", "tuning"], "before any option"),
        (["LIST", "--out", "/proc/no"], "--out /proc/no: cannot be written"),
        (["tuning", "more"], "expected"),
        (["LIST", "--methods"], "--methods: expected one or more, got nothing"),
        (["LIST", "--methods", "vds"], "unknown loss 'vds'"),
        (["LIST", "--methods", "cds,cgf.start=3"], "expected PLACE=VALUE"),
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
def test_bad_requests(capsys, prompts, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    given = [prompts if word == "LIST" else word for word in arguments]
    assert expected in one_line_fault(capsys, "evaluate", *given)
    assert not (tmp_path / "outputs").exists()
