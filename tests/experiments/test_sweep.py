"""Methods and jobs of a sweep. tests/cli/runs/test_evaluate.py tests it with real runs."""

import dataclasses
import json
import sys
import time
from pathlib import Path

import pytest

from gs3d.core.errors import UserError
from gs3d.core.runtime.threads import cores
from gs3d.distill.settings.config import load_config, parse_config
from gs3d.distill.settings.stages import RunConfig
from gs3d.experiments import methods
from gs3d.experiments import sweep as sweep_module
from gs3d.experiments.methods import Method
from gs3d.experiments.setup import Setup, shares
from gs3d.experiments.sweep import (
    FINISHED,
    STARTED,
    FinishedRun,
    Job,
    finished_before,
    names_given,
    sweep,
)
from tests.experiments.test_cost import DECODING


def test_path_refers_to_the_loss_or_else_to_the_run():
    method = Method.parse("cds,cfg.start=12, noise=fixed,cameras.draws=null,batch=2")
    (config,) = parse_config(method.settings("builtin"), "x").stages
    assert config.guidance.cfg.start == 12 and config.guidance.noise == "fixed"
    assert config.cameras.draws is None and config.batch == 2
    method = Method.parse("cds,delta=[0.05, 0.3],clamp={start: 1, end: 0.5}")
    (config,) = parse_config(method.settings("builtin"), "x").stages
    assert config.guidance.delta == (0.05, 0.3) and config.guidance.clamp.end == 0.5
    (config,) = parse_config(Method.parse("sds").settings("builtin"), "x").stages
    assert type(config.guidance).__name__ == "Sds" and config.batch == 4


def test_change_applies_to_every_stage_that_has_the_setting():
    method = Method.parse("cds,cfg.start=12,dmtet.resolution=24,checkpoint_every_s=5")
    config = parse_config(method.settings("builtin-two-stage"), "x")
    assert [stage.guidance.cfg.start for stage in config.stages] == [12, 12]
    assert config.checkpoint_every_s == 5 and config.stages[1].dmtet.resolution == 24
    assert config.stages[0].nerf == load_config("builtin-two-stage").stages[0].nerf
    with pytest.raises(UserError, match="expected PATH=VALUE"):
        Method.parse("cds,stages=1").settings("builtin-two-stage")


@pytest.mark.parametrize(
    "change",
    [
        "batch.x=1",
        "cgf.start=1",
        "cameras.draws",
        "cameras.fil=1",
        "batch=[",
        "batch=0",
        "cameras=3",
        "guidance=sds",
        "losses=1",
        "",
    ],
)
def test_invalid_change_is_refused_in_one_line(change):
    with pytest.raises(UserError, match=r"^methods") as error:
        Method.parse(f"cds,{change}").settings("builtin")
    assert "\n" not in str(error.value)


def test_unknown_loss_is_refused():
    with pytest.raises(
        UserError, match="methods vds: unknown loss 'vds'; expected one of cds, sds"
    ):
        Method.parse("vds")


def test_every_run_has_its_own_folder():
    long = "cds,noise=fixed,random_t=true,cfg.start=20,cfg.end=10,cameras.draws="
    methods = [
        Method.parse(text)
        for text in ("cds", "cds,cfg.start=1.2", "cds,cfg.start=12", long + "250", long + "500")
    ]
    prompts = (
        "a red duck",
        "a red duck!",
        "a " + "red " * 30 + "duck",
        "a " + "red " * 31 + "duck",
    )
    jobs = [
        Job(prompt, method, seed) for prompt in prompts for method in methods for seed in (0, 1)
    ]
    assert jobs[1].folder == "runs/a-red-duck/cds-s1"
    assert len({job.folder for job in jobs}) == len(jobs) == 40


def test_fingerprint_depends_on_everything_that_determines_a_run(tmp_path):
    setup = Setup(tmp_path, ("--steps", "1"), "builtin", "builtin", "weights")
    method = Method.parse("cds")
    others = [
        (setup, Method.parse("cds,cfg.start=12")),
        (setup, Method.parse("sds")),
        (dataclasses.replace(setup, budget=("--steps", "2")), method),
        (dataclasses.replace(setup, base="preview"), method),
        (dataclasses.replace(setup, prior_hash="other weights"), method),
    ]
    assert setup.fingerprint(method) == setup.fingerprint(Method.parse("cds"))
    assert len({s.fingerprint(m) for s, m in others} | {setup.fingerprint(method)}) == 6


CODE = ("cds.py", "distillation.py", "noise.py", "inversion.py", "priors/base.py", "schedules.py")


def test_fingerprint_leaves_out_defaults_of_settings_that_came_later():
    for base in ("builtin", "builtin-two-stage"):
        settings = Method.parse("cds").settings(base)
        kept = methods._without_later(settings, RunConfig)
        assert "compile" not in kept and "inside" in str(settings) and "inside" not in str(kept)
    settings = Method.parse("sds").settings("builtin-scene")
    assert methods._without_later(settings, RunConfig)["cameras"]["inside"] is True


@pytest.mark.parametrize("file", CODE)
def test_fingerprint_depends_on_the_code_of_the_loss(file, monkeypatch):
    method, read = Method.parse("cds"), Path.read_text
    before = method.fingerprint("builtin")

    def edited(path, *args):
        return read(path, *args) + "\nedited = 1" * path.as_posix().endswith(f"/{file}")

    monkeypatch.setattr(Path, "read_text", edited)
    assert method.fingerprint("builtin") != before


def write_finished(setup, job, **changes):
    """Write the files of a finished run, with `changes` to its finished.json."""
    folder = setup.out / job.folder
    folder.mkdir(parents=True)
    (folder / "splats.ply").write_bytes(b"")
    fingerprint = setup.fingerprint(job.method)
    run = FinishedRun(job.prompt, job.method.name, job.seed, fingerprint, "finished", 1.0, None)
    fields = dataclasses.asdict(dataclasses.replace(run, **changes))
    (folder / FINISHED).write_text(json.dumps(fields))
    return folder


def test_run_counts_as_finished_only_for_its_own_job_and_settings(tmp_path):
    setup = Setup(tmp_path, ("--steps", "1"), "builtin", "builtin", "weights")
    for seed, changes in enumerate(
        ({}, {"prompt": "a blue duck"}, {"seed": 9}, {"fingerprint": "x"})
    ):
        job = Job("a red duck", Method.parse("cds"), seed)
        write_finished(setup, job, **changes)
        assert (finished_before(job, setup) is None) == bool(changes)
    folder = write_finished(setup, Job("a red duck", Method.parse("cds"), 7))
    (folder / "splats.ply").unlink()
    assert finished_before(Job("a red duck", Method.parse("cds"), 7), setup) is None
    (folder / FINISHED).write_text("{")
    assert finished_before(Job("a red duck", Method.parse("cds"), 7), setup) is None


def test_names_of_methods_are_kept_within_one_evaluation_alone(tmp_path):
    def folders(out):
        setup = Setup(out, ("--steps", "1"), "builtin", "builtin", "weights")
        methods = (Method.parse("cds"), Method.parse("cds,noise=fixed"))
        return [write_finished(setup, Job("a red duck", method, 0)) for method in methods]

    one, other = folders(tmp_path / "one"), folders(tmp_path / "other")
    assert names_given(one) == ["cds", "cds,noise=fixed"]
    assert names_given([*one, *other]) == []
    setup = Setup(tmp_path / "one", ("--steps", "1"), "builtin", "builtin", "weights")
    longer = write_finished(setup, Job("a duck", Method.parse("cds"), 0), fingerprint="x")
    assert names_given([*one, longer]) == []
    (one[0] / FINISHED).unlink()
    assert names_given(one) == []


@pytest.fixture
def fake_runs(tmp_path, monkeypatch):
    """The setup of a sweep of fake runs, which end as their prompts say and write their cores."""
    script = tmp_path / "run.py"
    script.write_text(
        "import os, pathlib, sys, time\n"
        "prompt, out = sys.argv[2], pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
        "continued = '--resume' in sys.argv\n"
        "if 'slow' in prompt and not continued: time.sleep(60)\n"
        "if 'killed' in prompt and continued: sys.exit(137)\n"
        "if 'fails' in prompt: sys.exit(2)\n"
        "outcome = 'diverged' if 'diverges' in prompt else 'finished'\n"
        "known = hasattr(os, 'sched_getaffinity')\n"
        "count = len(os.sched_getaffinity(0)) if known else 0\n"
        "(out / 'splats.ply').write_text(str(count))\n"
        "result = '{outcome: %s, peak_memory_mb: 12.5, steps: 4}' % outcome\n"
        "(out / 'run.yaml').write_text('timings_s: {optimize: 2.0}\\nresult: ' + result)\n"
        "sys.exit(outcome == 'diverged')\n"
    )
    launcher = tmp_path / "python"
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setattr("gs3d.experiments.sweep.GS3D", (str(launcher),))
    return Setup(tmp_path / "out", ("--steps", "1"), "builtin", "builtin", "weights")


def jobs_of(*prompts):
    return [Job(prompt, Method.parse("cds"), 0) for prompt in prompts]


def test_failed_runs_are_none_and_early_ends_are_recorded(fake_runs):
    jobs = jobs_of("one", "it fails", "it diverges")
    runs = dict(sweep(jobs, fake_runs, lambda job, run: run))
    assert runs[jobs[1]] is None and finished_before(jobs[1], fake_runs) is None
    assert (runs[jobs[0]].outcome, runs[jobs[2]].outcome) == ("finished", "diverged")
    assert runs[jobs[0]].memory_mb == 12.5 and runs[jobs[0]].seconds > 0
    assert finished_before(jobs[0], fake_runs) == runs[jobs[0]]


@pytest.mark.parametrize(
    ("prompt", "budget", "same", "continues"),
    [
        ("a slow one", "--steps", True, True),
        ("one", "--minutes", True, False),
        ("one", "--steps", False, False),
    ],
)
def test_interrupted_runs_go_on_if_that_ends_as_it_would_have(
    fake_runs, prompt, budget, same, continues
):
    setup = dataclasses.replace(fake_runs, budget=(budget, "1"))
    (job,) = jobs_of(prompt)
    ((_, run),) = sweep(jobs_of("one"), setup, lambda job, run: run)
    folder = setup.out / job.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FINISHED).unlink(missing_ok=True)
    start = json.loads((setup.out / jobs_of("one")[0].folder / STARTED).read_text())
    start[0] = prompt
    if not same:
        start[-1] = "other code"
    (folder / STARTED).write_text(json.dumps(start))
    (folder / "log.jsonl").write_text('{"step": 0, "elapsed_s": 500}\n{"step": 1, "el')
    (folder / "of_the_first_part").touch()
    ((_, again),) = sweep([job], setup, lambda job, run: run)
    assert again.outcome == "finished" and finished_before(job, setup) == again
    assert (folder / "of_the_first_part").exists() == continues == (again.seconds > 500)
    assert (again.evaluations_per_s is None) == continues


def test_result_of_an_interrupted_run_does_not_count_if_its_continuation_fails(fake_runs):
    (job,) = jobs_of("it is killed")
    folder = fake_runs.out / job.folder
    ((_, run),) = sweep([job], fake_runs, lambda job, run: run)
    assert run is not None
    (folder / FINISHED).unlink()
    record = (folder / "run.yaml").read_text().replace("finished", "terminated")
    (folder / "run.yaml").write_text(record)
    ((_, again),) = sweep([job], fake_runs, lambda job, run: run)
    assert again is None and not (folder / FINISHED).exists()
    # What it had made stays for another attempt.
    assert (folder / "splats.ply").exists() and (folder / STARTED).exists()


@pytest.mark.skipif(len(cores()) < 2, reason="needs two cores")
def test_parallel_runs_stay_on_their_cores_and_are_graded_before_the_next(fake_runs):
    setup, active, counts = dataclasses.replace(fake_runs, at_once=2), [], []

    def grade(job, run):
        active.append(job)
        counts.append(len(active))
        time.sleep(0.2)
        active.remove(job)
        return (setup.out / job.folder / "splats.ply").read_text()

    cores_used = {result for _, result in sweep(jobs_of(*"abcdef"), setup, grade)}
    assert cores_used == {str(len(cores()) // 2)} and max(counts) <= 2


def test_evaluations_a_second_are_those_of_the_loss_if_they_can_be_counted(fake_runs, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(DECODING)
    jobs = [Job("a mug", Method.parse(m), 0) for m in ("sds,pairs=false", f"{file}:Decoding")]
    made = {job.method.loss[:3]: run for job, run in sweep(jobs, fake_runs, lambda _, run: run)}
    # 4 steps of 4 views in 2 seconds.
    assert made.pop("sds").evaluations_per_s == 8.0
    (own,) = made.values()
    assert own.evaluations_per_s is None


def test_closing_a_sweep_terminates_its_runs(fake_runs):
    jobs = jobs_of("one", "a slow one", "another")
    began, results = time.monotonic(), sweep(jobs, fake_runs, lambda job, run: run)
    assert next(results)[0] == jobs[0]
    results.close()  # as an exception in a loop over it does, such as Ctrl-C
    assert time.monotonic() - began < 30
    assert [finished_before(job, fake_runs) is not None for job in jobs] == [True, False, False]


def test_cores_are_divided_equally():
    assert [len(s) for s in shares(1)] == [len(cores())]
    each = shares(len(cores()))
    assert all(len(s) == 1 for s in each) and set().union(*each) == set(cores())
    with pytest.raises(UserError, match="at_once: expected 1 to"):
        shares(len(cores()) + 1)


def test_runs_are_made_by_the_installed_gs3d():
    assert (sys.executable, "-m", "gs3d") == sweep_module.GS3D
