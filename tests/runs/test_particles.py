"""Runs with several particles: what they share, their files, and how they are resumed."""

import dataclasses

import pytest
import torch
import yaml

from gs3d.core.errors import UserError
from gs3d.core.runtime import memory
from gs3d.distill.checkpoint import newest_checkpoint
from gs3d.distill.settings.config import load_config
from gs3d.distill.state import Particle, TrainState
from gs3d.experiments.compare import sides_of
from gs3d.experiments.names import method_names
from gs3d.io import load_asset
from gs3d.representations.dmtet.dmtet import Dmtet
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.runs import execute, loop
from gs3d.runs.history import representation_of, training_cameras
from gs3d.runs.loop import enter_stage
from tests.runs.running import equal, generate, interrupt_after, log_rows, request_for

CONFIG = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [32]}}
gaussians: {count: 150, rates: {iterations: 10}}
densify: {start: 0.2, stop: 0.9, rounds: 2, grow_share: 0.2, max_count: 200}
losses:
  vsd: {cfg: {start: 5, end: 5}, lora_rate: 0.01}
  sds: {cfg: {start: 5, end: 5}}
"""


@pytest.fixture
def three(tiny_sd_folder, tmp_path):
    made = request_for(tiny_sd_folder, tmp_path, CONFIG, 9, guidance="vsd")
    return dataclasses.replace(made, particles=3)


def record_in(folder):
    return yaml.safe_load((folder / "run.yaml").read_text("utf-8"))


def test_three_particles_and_their_files(three):
    result = generate(three)
    rows = log_rows(result.folder)
    assert [row["particle"] for row in rows] == [1, 2, 3] * 3
    assert all(row["lora_loss"] > 0 for row in rows)
    folders = [result.folder, result.folder / "particle-2", result.folder / "particle-3"]
    assets = [load_asset(folder) for folder in folders]
    assert not equal(assets[0], assets[1]) and not equal(assets[1], assets[2])
    for number, (folder, asset) in enumerate(zip(folders, assets, strict=True), start=1):
        assert (folder / "preview.png").exists() and (folder / "turntable.mp4").exists()
        record = record_in(folder)
        assert record["particles"] == 3 and record.get("particle", 1) == number
        assert record["result"]["splats"] == len(asset)
    assert [path for path in result.files if path.name == "splats.ply"] == [
        folder / "splats.ply" for folder in folders
    ]
    assert len(training_cameras(result.folder)) == 3  # iterations of the first
    seen = [side.taken.partition(", ")[2] for side in sides_of(folders)]
    assert [text.startswith(f"particle {i}, ") for i, text in enumerate(seen, start=1)] == [
        True
    ] * 3


def test_first_particle_with_a_loss_without_a_model_is_the_run_of_its_seed(three, tmp_path):
    """Nothing of the others reaches it: it has the same cameras, noise and rates."""
    alone = dataclasses.replace(three, guidance="sds", particles=1, steps=3, out=tmp_path / "alone")
    together = dataclasses.replace(three, guidance="sds")
    warned = []
    found = generate(together, say=warned.append)
    assert sum("(sds) trains a model that particles could share" in line for line in warned) == 1
    expected = generate(alone)
    assert equal(found.splats, expected.splats)
    cameras = (training_cameras(folder) for folder in (found.folder, expected.folder))
    for one, other in zip(*cameras, strict=True):
        torch.testing.assert_close(one.world_to_camera, other.world_to_camera)


def test_interrupted_and_resumed_run_equals_uninterrupted_run(three, tmp_path):
    whole = generate(dataclasses.replace(three, out=tmp_path / "whole"))
    stopped = generate(three, report=interrupt_after(4))
    assert stopped.outcome == "interrupted" and stopped.steps == 5
    # --particles is taken from the run that is resumed.
    resumed = generate(dataclasses.replace(three, particles=1, resume=True))
    assert resumed.steps == 9
    for part in ("", "particle-2", "particle-3"):
        assert equal(load_asset(whole.folder / part), load_asset(resumed.folder / part))
    one, other = (newest_checkpoint(r.folder / "checkpoint") for r in (whole, resumed))
    assert one.model.keys() == other.model.keys()
    assert all(torch.equal(one.model[name], other.model[name]) for name in one.model)
    with pytest.raises(UserError, match="that run has particles 3, not 2; repeat its command"):
        generate(dataclasses.replace(three, particles=2, resume=True))


def test_a_particle_is_reached_by_every_command(three):
    """Its cameras and its representation are in the folder of the run."""
    result = generate(three)
    second = result.folder / "particle-2"
    cameras = training_cameras(second)
    assert len(cameras) == 3
    first = training_cameras(result.folder)
    assert not torch.equal(cameras[0].world_to_camera, first[0].world_to_camera)
    kept = representation_of(second).splats()
    torch.testing.assert_close(kept.means, load_asset(second).means, atol=1e-5, rtol=0)
    with pytest.raises(UserError, match="particle-2: is a particle of the run"):
        generate(dataclasses.replace(three, out=second, resume=True))
    records = [record_in(result.folder), record_in(second), record_in(result.folder)]
    records[2] = {k: v for k, v in records[2].items() if k != "particles"}
    assert method_names(records)[2] == "vsd,particles=1"


def test_one_particle_that_is_not_finite_ends_the_run(three, monkeypatch):
    monkeypatch.setattr(loop, "MAX_SKIPPED", 2)
    real = Gaussians.render

    def render(self, *arguments):
        out = real(self, *arguments)
        return dataclasses.replace(out, rgb=out.rgb * float("nan")) if self is bad[0] else out

    bad = [None]
    monkeypatch.setattr(Gaussians, "render", render)

    def control(state):
        bad[0] = state.particles[1].representation
        return "continue"

    said = []
    result = generate(three, say=said.append, control=control)
    assert result.outcome == "diverged" and result.steps == 5


def test_more_particles_than_steps_is_one_line(three):
    with pytest.raises(UserError, match="particles 10: more than steps 9"):
        generate(dataclasses.replace(three, particles=10))


def test_a_particle_that_cannot_be_written_is_a_warning(three, monkeypatch):
    real = execute.write_result

    def write_result(folder, representation):
        if folder.name == "particle-3":
            raise UserError("no room")
        return real(folder, representation)

    monkeypatch.setattr(execute, "write_result", write_result)
    result = generate(three)
    assert result.warnings == ["particle-3: no room"]
    assert result.asset is not None and [a is None for a in result.others] == [False, True]


@pytest.mark.parametrize("number", [0, -1, 1.5, "two"])
def test_number_that_is_none_is_one_line(three, number):
    with pytest.raises(UserError, match="particles: expected a whole number, 1 or more") as caught:
        generate(dataclasses.replace(three, particles=number))
    assert "\n" not in str(caught.value)


def test_more_than_memory_holds_is_one_line(three, monkeypatch):
    monkeypatch.setattr("gs3d.distill.memory.room.free_memory", lambda device: 2_000_000)
    with pytest.raises(UserError, match=r"particles 1000: each takes up to .* at most \d+") as told:
        generate(dataclasses.replace(three, particles=1000, steps=1000))
    assert "\n" not in str(told.value) and not three.out.exists()


def test_free_memory_of_a_container(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    free = memory.free_memory(torch.device("cpu"))
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert free is None or memory.free_memory(torch.device("cpu")) > 1e6
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.stat").write_text("active_file 1\ninactive_file 100\n")
    assert free is None or memory.free_memory(torch.device("cpu")) == 4100


def test_each_particle_goes_to_the_next_stage():
    config = load_config("builtin-mesh", "sds", ["dmtet.resolution=12"])
    first = config.stages[0].gaussians
    blobs = [Gaussians.blob(first, seed, "cpu") for seed in (1, 2)]
    particles = [Particle(b, 0.3, iterations=n) for b, n in zip(blobs, (4, 3), strict=True)]
    state, left = TrainState(particles, step=7), []
    enter_stage(state, config, 0.95, lambda: left.append(state.stage))
    assert state.stage == 1 and left == [0] and state.turn == 1
    assert all(isinstance(p.representation, Dmtet) for p in state.particles)
    assert [p.accepted_progress for p in state.particles] == [0.0, 0.0]
