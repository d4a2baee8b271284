"""The benchmark's own handling of settings and prompts: what it reports must be what it ran."""

import importlib.util
import sys
from pathlib import Path

import pytest

from gs3d.core.errors import UserError
from gs3d.training.config import parse_config

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def quality():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        spec = importlib.util.spec_from_file_location("quality", FOLDER / "quality.py")
        module = sys.modules["quality"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
        del sys.modules["quality"]


def test_settings_are_changed_for_every_loss(quality):
    tree = quality.changed(
        "builtin", ("losses.cds.cfg.start=12", "losses.sds.random_t=true", "cameras.draws=null", "cameras.fill=[0.5, 0.6]")
    )
    cds, sds = (parse_config(tree, "x", loss) for loss in ("cds", "sds"))
    assert cds.guidance.cfg.start == 12 and sds.guidance.random_t is True
    assert cds.cameras.draws is None and sds.cameras.fill == (0.5, 0.6)


@pytest.mark.parametrize(
    "change", ["batch.x=1", "losses.cds.cgf.start=1", "cameras.draws", "cameras.fil=1", "batch=[", "batch=0", "cameras=3"]
)
def test_a_change_that_cannot_be_made_is_one_line(quality, change):
    with pytest.raises(UserError, match="^(--set|config --set)"):
        quality.changed("builtin", (change,))


def test_tuning_prompts_are_none_of_those_reported(quality):
    kinds = quality.known("kind")

    def prompts(offset):
        return {quality.Job(kind, colour, "cds").prompt for kind in kinds for colour in quality.colours_of(kind, 2, offset)}

    assert len(prompts(0)) == len(prompts(2)) == 2 * len(kinds) >= 24 and prompts(0).isdisjoint(prompts(2))
