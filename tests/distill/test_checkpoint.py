import errno
import json
import os

import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.distill.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint


def saved(folder, step):
    return save_checkpoint(
        folder, Checkpoint(step, 1.5 * step, 0.1, 0.05, {"a": torch.full((3,), float(step))})
    )


def test_round_trip_and_only_the_newest_two_stay(tmp_path):
    for step in (5, 10, 200):
        saved(tmp_path, step)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "step_0000010.safetensors",
        "step_0000200.safetensors",
    ]
    newest = newest_checkpoint(tmp_path)
    assert (newest.step, newest.elapsed_s, newest.progress, newest.accepted_progress) == (
        200,
        300.0,
        0.1,
        0.05,
    )
    assert newest.tensors["a"].tolist() == [200.0] * 3


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"junk" * 50, lambda b: b[:-1]]
)
def test_a_damaged_newest_is_passed_over(tmp_path, damage):
    saved(tmp_path, 1)
    path = saved(tmp_path, 2)
    path.write_bytes(damage(path.read_bytes()))
    assert newest_checkpoint(tmp_path).step == 1


def test_a_run_resumed_from_before_damaged_ones_keeps_what_it_saves(tmp_path):
    for step in (500, 510):
        saved(tmp_path, step).write_bytes(b"damaged")
    saved(tmp_path, 100)
    assert newest_checkpoint(tmp_path).step == 100
    saved(tmp_path, 110)
    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        "step_0000100.safetensors",
        "step_0000110.safetensors",
    ]


def test_none_when_there_is_none(tmp_path):
    assert newest_checkpoint(tmp_path / "nowhere") is None


def test_full_disk_is_one_line_and_keeps_the_old_one(tmp_path, monkeypatch):
    saved(tmp_path, 1)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device; free some space"):
        saved(tmp_path, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["step_0000001.safetensors"]


def test_a_checkpoint_from_before_a_field_was_renamed_is_read(tmp_path):
    from safetensors.torch import save_file

    state = {"step": 7, "elapsed_s": 1.0, "progress": 0.2, "densified": 0.15}
    save_file(
        {"a": torch.ones(2)},
        tmp_path / "step_0000007.safetensors",
        metadata={"gs3d": json.dumps(state)},
    )
    assert newest_checkpoint(tmp_path).accepted_progress == 0.15
