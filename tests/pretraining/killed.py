"""A training run that is killed at a checkpoint and goes on."""

import pytest

from gs3d.pretraining import common as classifiers
from gs3d.pretraining import renders, resume
from gs3d.world import dataset as dataset

SHORT = {
    "shards": 2,
    "images": 48,
    "batch": 8,
    "warmup_images": 8,
    "save_every_s": 0,
    "log_every": 2,
    "device": "cpu",
}
"""Settings of a run of six steps with a checkpoint after each."""


def draw_little(patch: pytest.MonkeyPatch) -> None:
    """Shards of 32 pictures, drawn in this process: others would draw whole ones."""
    for module in (dataset, classifiers, renders):
        patch.setattr(module, "SHARD", 32)
    patch.setattr(renders, "has_card", lambda: False)


def in_two_parts(fit, config, at: int) -> None:
    """Run `fit(config)`, killed by its checkpoint after `at` pictures, then again to the end."""
    save = resume.save

    def and_die(folder, seen, *rest):
        save(folder, seen, *rest)
        if seen == at:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "save", and_die)
        with pytest.raises(KeyboardInterrupt):
            fit(config)
    fit(config)
