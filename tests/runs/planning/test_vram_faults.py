"""--vram and micro_batch: what is refused, in one line."""

import math

import pytest

from gs3d.core.errors import UserError
from gs3d.runs.request import Request, checked
from tests.cli.commands import one_line_fault
from tests.runs.planning.test_vram import SPLATS
from tests.runs.running import request_for


@pytest.mark.parametrize("value", [1, 0, -8, 9, math.nan, math.inf, "lots", "", None, [8], True])
def test_other_sizes_are_refused(value):
    with pytest.raises(UserError, match="vram .*: expected auto or 8 or 12 or 16 or 24, the giga"):
        checked(Request("a cat", vram=value))


@pytest.mark.parametrize("value", ["1", "0", "nan", "lots", "8.5", "-8", ""])
def test_the_command_refuses_other_sizes(capsys, value):
    fault = one_line_fault(capsys, "generate", "a cat", "--steps", "1", "--vram", value)
    assert f"--vram: expected auto or 8 or 12 or 16 or 24, got {value!r}" in fault


@pytest.mark.parametrize(("value", "size"), [("10", 8), ("4", 8), ("23.5", 16), ("80", 24)])
def test_the_next_smaller_size_is_named(capsys, value, size):
    fault = one_line_fault(capsys, "generate", "a cat", "--steps", "1", "--vram", value)
    assert f"or 24, got {value!r}; take {size}; see gs3d generate --help" in fault
    for given in (float(value), value):
        with pytest.raises(UserError, match=f"the gigabytes of the GPU; take {size}$"):
            checked(Request("a cat", vram=given))


@pytest.mark.parametrize("value", [0, -8, math.nan, math.inf, "lots", None, [8], True, 10**400])
def test_nothing_is_named_without_a_size(value):
    with pytest.raises(UserError, match="the gigabytes of the GPU$"):
        checked(Request("a cat", vram=value))


@pytest.mark.parametrize(
    "prior,setting,expected",
    [
        ("tiny_sd_folder", "micro_batch=3", "micro_batch: expected a divisor of batch 4, got 3"),
        ("tiny_sd_folder", "micro_batch=8", "micro_batch: expected a divisor of batch 4, got 8"),
        ("tiny_sd_folder", "micro_batch=0", "micro_batch: expected a number in [1, inf), got 0"),
        (
            "tiny_sd_folder",
            "micro_batch=.nan",
            "micro_batch=.nan: expected a whole number, got nan",
        ),
        ("tiny_multiview_folder", "micro_batch=2", "micro_batch: expected a multiple of 4"),
    ],
)
def test_micro_batches_that_do_not_fit_are_refused(
    capsys, request, tmp_path, prior, setting, expected
):
    wanted = request_for(request.getfixturevalue(prior), tmp_path, SPLATS, 1)
    capsys.readouterr()  # what writing the model says
    options = ["--prior", wanted.prior, "--config", str(wanted.config), "--out", str(wanted.out)]
    fault = one_line_fault(capsys, "generate", "a cat", "--steps", "1", "--set", setting, *options)
    assert expected in fault and not wanted.out.exists()
