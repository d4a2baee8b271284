"""Helpers for tests of a training that is killed at a checkpoint and resumed."""

import pytest

from gs3d.pretraining import common, renders, resume
from gs3d.world import dataset

SHORT = {
    "shards": 2,
    "images": 48,
    "batch": 8,
    "warmup_images": 8,
    "save_every_s": 0,
    "log_every": 2,
    "device": "cpu",
}
"""Settings of a training of six steps with a checkpoint after each."""


def render_small_shards(patch: pytest.MonkeyPatch) -> None:
    """Render shards of only 32 images, in this process: others would render full-size shards."""
    for module in (dataset, common, renders):
        patch.setattr(module, "SHARD", 32)
    patch.setattr(renders, "has_card", lambda: False)


def in_two_parts(fit, config, at: int) -> None:
    """Run `fit(config)` until the checkpoint after `at` images, then again to the end."""
    save = resume.save

    def save_and_die(folder, seen, *rest):
        save(folder, seen, *rest)
        if seen == at:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            fit(config)
    fit(config)
