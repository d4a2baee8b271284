import os

import pytest

from gs3d.cli.main import main
from gs3d.core.runtime.openmp import spin_briefly


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ.pop("OMP_WAIT_POLICY", None)
    os.environ.pop("GOMP_SPINCOUNT", None)


def test_commands_limit_openmp_spinning(capsys):
    assert main(["render", "/nowhere.ply"]) == 2
    assert int(os.environ["GOMP_SPINCOUNT"]) > 0


@pytest.mark.parametrize(
    ("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "active")]
)
def test_user_settings_take_precedence(name, value):
    os.environ[name] = value
    spin_briefly()
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    assert {k: v for k, v in os.environ.items() if k in names} == {name: value}
