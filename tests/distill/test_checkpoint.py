"""Checkpoint files: round trip, old and damaged files, full disks."""

import errno
import json
import os

import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.distill.checkpoint import (
    Checkpoint,
    SavedParticle,
    newest_checkpoint,
    save_checkpoint,
)


def save(folder, step):
    """Save a checkpoint of `step` and return its path."""
    tensors = {"a": torch.full((3,), float(step))}
    return save_checkpoint(
        folder, Checkpoint(step, 1.5 * step, 0.1, [SavedParticle(tensors, 0.05)])
    )


def test_round_trip_keeps_the_two_newest(tmp_path):
    for step in (5, 10, 200):
        save(tmp_path, step)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "step_0000010.safetensors",
        "step_0000200.safetensors",
    ]
    newest = newest_checkpoint(tmp_path)
    assert (newest.step, newest.elapsed_s) == (200, 300.0)
    assert (newest.progress, newest.particles[0].accepted_progress) == (0.1, 0.05)
    assert newest.particles[0].tensors["a"].tolist() == [200.0] * 3


def test_the_newest_checkpoint_is_that_of_the_most_steps_whatever_the_clock_says(tmp_path):
    for step, seconds in ((5, 3e9), (10, 2e9), (15, 1e9)):
        os.utime(save(tmp_path, step), (seconds, seconds))
    assert newest_checkpoint(tmp_path).step == 15
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "step_0000010.safetensors",
        "step_0000015.safetensors",
    ]


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"junk" * 50, lambda b: b[:-1]],
    ids=["half", "empty", "junk", "last byte missing"],
)
def test_damaged_newest_checkpoint_is_skipped(tmp_path, damage):
    save(tmp_path, 1)
    path = save(tmp_path, 2)
    path.write_bytes(damage(path.read_bytes()))
    assert newest_checkpoint(tmp_path).step == 1


def test_saving_deletes_damaged_checkpoints_of_later_steps(tmp_path):
    for step in (500, 510):
        save(tmp_path, step).write_bytes(b"damaged")
    save(tmp_path, 100)
    assert newest_checkpoint(tmp_path).step == 100
    save(tmp_path, 110)
    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        "step_0000100.safetensors",
        "step_0000110.safetensors",
    ]


def test_missing_folder_has_no_checkpoint(tmp_path):
    assert newest_checkpoint(tmp_path / "nowhere") is None


def test_full_disk_keeps_the_previous_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"\(No space left on device\); free some space"):
        save(tmp_path, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["step_0000001.safetensors"]


def test_old_field_names_are_read(tmp_path):
    from safetensors.torch import save_file

    state = {"step": 7, "elapsed_s": 1.0, "progress": 0.2, "densified": 0.15}
    save_file(
        {"a": torch.ones(2)},
        tmp_path / "step_0000007.safetensors",
        metadata={"gs3d": json.dumps(state)},
    )
    assert newest_checkpoint(tmp_path).particles[0].accepted_progress == 0.15
