import os

import pytest

from gs3d.cli.main import main
from gs3d.core.runtime.openmp import spin_briefly


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ.pop("OMP_WAIT_POLICY", None)
    os.environ.pop("GOMP_SPINCOUNT", None)


def test_a_command_lets_helper_threads_sleep_soon(capsys):
    assert main(["render", "/nowhere.ply"]) == 2
    assert int(os.environ["GOMP_SPINCOUNT"]) > 0


@pytest.mark.parametrize(
    ("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "active")]
)
def test_what_the_user_set_stands(name, value):
    os.environ[name] = value
    spin_briefly()
    assert {k: v for k, v in os.environ.items() if k in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} == {
        name: value
    }
