"""A training run that is killed at a checkpoint and goes on."""

import pytest

from gs3d.fitting import resume

SHORT = {"shards": 2, "images": 48, "batch": 8, "warmup_images": 8, "save_every_s": 0, "log_every": 2, "device": "cpu"}
"""Settings of a run of six steps with a checkpoint after each."""


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
