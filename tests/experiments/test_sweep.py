"""Methods and jobs of a sweep; the runs themselves are in tests/cli/test_evaluate.py."""

import dataclasses
import json
import sys
import time

import pytest

from gs3d.core.errors import UserError
from gs3d.distill.config import load_config, parse_config
from gs3d.experiments.methods import Method
from gs3d.experiments.sweep import (
    FINISHED,
    FinishedRun,
    Job,
    Setup,
    cores,
    finished_before,
    shares,
    sweep,
)


def test_a_place_is_looked_for_in_the_loss_and_then_in_the_run():
    method = Method.parse("cds,cfg.start=12, fixed_noise=true,cameras.draws=null,batch=2")
    (config,) = parse_config(method.settings("builtin"), "x").stages
    assert config.guidance.cfg.start == 12 and config.guidance.fixed_noise is True
    assert config.cameras.draws is None and config.batch == 2
    ramp = (
        parse_config(
            Method.parse("cds,delta=[0.05, 0.3],clamp={start: 1, end: 0.5}").settings("builtin"),
            "x",
        )
        .stages[0]
        .guidance
    )
    assert ramp.delta == (0.05, 0.3) and ramp.clamp.end == 0.5
    (plain,) = parse_config(Method.parse("sds").settings("builtin"), "x").stages
    assert type(plain.guidance).__name__ == "Sds" and plain.batch == 4


def test_a_change_is_made_in_every_stage_that_has_the_place():
    method = Method.parse("cds,cfg.start=12,dmtet.resolution=24,checkpoint_every_s=5")
    config = parse_config(method.settings("builtin-two-stage"), "x")
    assert [stage.guidance.cfg.start for stage in config.stages] == [
        12,
        12,
    ] and config.checkpoint_every_s == 5
    assert (
        config.stages[1].dmtet.resolution == 24
        and config.stages[0].nerf == load_config("builtin-two-stage").stages[0].nerf
    )
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
def test_a_change_that_cannot_be_made_is_one_line(change):
    with pytest.raises(UserError, match=r"^methods") as error:
        Method.parse(f"cds,{change}").settings("builtin")
    assert "\n" not in str(error.value)


def test_an_unknown_loss_is_named():
    with pytest.raises(
        UserError, match="methods vds: unknown loss 'vds'; expected one of cds, sds"
    ):
        Method.parse("vds")


def test_every_run_has_a_folder_of_its_own():
    long = "cds,fixed_noise=true,random_t=true,cfg.start=20,cfg.end=10,cameras.draws="
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


def test_what_decides_a_run_is_in_its_fingerprint(tmp_path):
    setup, method = (
        Setup(tmp_path, ("--steps", "1"), "builtin", "builtin", "weights"),
        Method.parse("cds"),
    )
    others = [
        (setup, Method.parse("cds,cfg.start=12")),
        (setup, Method.parse("sds")),
        (dataclasses.replace(setup, budget=("--steps", "2")), method),
        (dataclasses.replace(setup, base="preview"), method),
        (dataclasses.replace(setup, prior_hash="other weights"), method),
    ]
    assert setup.fingerprint(method) == setup.fingerprint(Method.parse("cds"))
    assert len({s.fingerprint(m) for s, m in others} | {setup.fingerprint(method)}) == 6


def test_an_edited_loss_is_another_one(tmp_path, monkeypatch):
    method = Method.parse("cds")
    before = method.fingerprint("builtin")
    monkeypatch.setattr("gs3d.experiments.methods.inspect.getsource", lambda module: "edited")
    assert method.fingerprint("builtin") != before


def write_made(setup, job, **changes):
    folder = setup.out / job.folder
    folder.mkdir(parents=True)
    (folder / "splats.ply").write_bytes(b"")
    made = FinishedRun(
        job.prompt, job.method.name, job.seed, setup.fingerprint(job.method), "finished", 1.0, None
    )
    (folder / FINISHED).write_text(
        json.dumps(dataclasses.asdict(dataclasses.replace(made, **changes)))
    )
    return folder


def test_a_run_counts_as_made_only_for_its_own_job_and_settings(tmp_path):
    setup = Setup(tmp_path, ("--steps", "1"), "builtin", "builtin", "weights")
    for seed, changes in enumerate(
        ({}, {"prompt": "a blue duck"}, {"seed": 9}, {"fingerprint": "x"})
    ):
        job = Job("a red duck", Method.parse("cds"), seed)
        write_made(setup, job, **changes)
        assert (finished_before(job, setup) is None) == bool(changes)
    folder = write_made(setup, Job("a red duck", Method.parse("cds"), 7))
    (folder / "splats.ply").unlink()
    assert finished_before(Job("a red duck", Method.parse("cds"), 7), setup) is None
    (folder / FINISHED).write_text("{")
    assert finished_before(Job("a red duck", Method.parse("cds"), 7), setup) is None


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Runs that take no time: the prompt says what becomes of them."""
    script = tmp_path / "run.py"
    script.write_text(
        "import os, pathlib, sys, time\n"
        "prompt, out = sys.argv[4], pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
        "if 'slow' in prompt: time.sleep(60)\n"
        "if 'fails' in prompt: sys.exit(2)\n"
        "outcome = 'diverged' if 'diverges' in prompt else 'finished'\n"
        "(out / 'splats.ply').write_text(str(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 0))\n"
        "(out / 'run.yaml').write_text('result: {outcome: %s, peak_memory_mb: 12.5}' % outcome)\n"
        "sys.exit(outcome == 'diverged')\n"
    )
    launcher = tmp_path / "python"
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setattr("gs3d.experiments.sweep.sys.executable", str(launcher))
    return Setup(tmp_path / "out", ("--steps", "1"), "builtin", "builtin", "weights")


def jobs_of(*prompts):
    return [Job(prompt, Method.parse("cds"), 0) for prompt in prompts]


def test_runs_that_fail_leave_none_and_those_that_ended_early_say_so(stand_in):
    jobs = jobs_of("one", "it fails", "it diverges")
    made = dict(sweep(jobs, stand_in, lambda job, made: made))
    assert made[jobs[1]] is None and finished_before(jobs[1], stand_in) is None
    assert (made[jobs[0]].outcome, made[jobs[2]].outcome) == ("finished", "diverged")
    assert made[jobs[0]].memory_mb == 12.5 and made[jobs[0]].seconds > 0
    assert finished_before(jobs[0], stand_in) == made[jobs[0]]


@pytest.mark.skipif(len(cores()) < 2, reason="needs two cores")
def test_runs_side_by_side_keep_to_their_cores_and_are_looked_at_before_the_next(stand_in):
    setup, busy, most = dataclasses.replace(stand_in, at_once=2), [], []

    def look(job, made):
        busy.append(job)
        most.append(len(busy))
        time.sleep(0.2)
        busy.remove(job)
        return (setup.out / job.folder / "splats.ply").read_text()

    assert {width for _, width in sweep(jobs_of(*"abcdef"), setup, look)} == {
        str(len(cores()) // 2)
    }
    assert max(most) <= 2


def test_stopping_ends_the_runs_and_leaves_nothing_that_counts(stand_in):
    jobs = jobs_of("one", "a slow one", "another")
    began, runs = time.monotonic(), sweep(jobs, stand_in, lambda job, made: made)
    assert next(runs)[0] == jobs[0]
    runs.close()  # what an exception in the loop over it does, Ctrl-C among them
    assert time.monotonic() - began < 30
    assert [finished_before(job, stand_in) is not None for job in jobs] == [True, False, False]


def test_cores_are_shared_equally():
    assert [len(s) for s in shares(1)] == [len(cores())]
    each = shares(len(cores()))
    assert all(len(s) == 1 for s in each) and set().union(*each) == set(cores())
    with pytest.raises(UserError, match="at_once: expected 1 to"):
        shares(len(cores()) + 1)
