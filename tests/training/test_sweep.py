"""Methods and jobs of a sweep; the runs themselves are in tests/cli/test_cli_evaluate.py."""

import pytest

from gs3d.core.errors import UserError
from gs3d.training.config import parse_config
from gs3d.training.sweep import Job, Method, check_jobs, cores, shares


def test_a_place_is_looked_for_in_the_loss_and_then_in_the_run():
    method = Method.parse("cds,cfg.start=12, fixed_noise=true,cameras.draws=null,batch=2")
    config = parse_config(method.settings("builtin"), "x")
    assert config.guidance.cfg.start == 12 and config.guidance.fixed_noise is True
    assert config.cameras.draws is None and config.batch == 2
    plain = parse_config(Method.parse("sds").settings("builtin"), "x")
    assert type(plain.guidance).__name__ == "Sds" and plain.batch == 4


@pytest.mark.parametrize("change", ["batch.x=1", "cgf.start=1", "cameras.draws", "cameras.fil=1", "batch=[", "batch=0", "cameras=3", ""])
def test_a_change_that_cannot_be_made_is_one_line(change):
    with pytest.raises(UserError, match=r"^(--methods|config --methods)") as error:
        Method.parse(f"cds,{change}").settings("builtin")
    assert "\n" not in str(error.value)


def test_an_unknown_loss_is_named():
    with pytest.raises(UserError, match="--methods vds: unknown loss 'vds'; expected one of cds, sds"):
        Method.parse("vds")


def test_every_run_has_a_folder_of_its_own():
    method = Method.parse("cds,cfg.start=12")
    assert Job("a red duck", method, 3).folder == "runs/a-red-duck/cds-cfg-start-12-s3"
    check_jobs([Job("a red duck", method, seed) for seed in range(3)])
    with pytest.raises(UserError, match="would share the folder"):
        check_jobs([Job("a red duck", method, 0), Job("a red duck!", method, 0)])


def test_cores_are_shared_equally():
    assert [len(s) for s in shares(1)] == [len(cores())]
    each = shares(len(cores()))
    assert all(len(s) == 1 for s in each) and set().union(*each) == set(cores())
    with pytest.raises(UserError, match="--at-once: expected 1 to"):
        shares(len(cores()) + 1)
