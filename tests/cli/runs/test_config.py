"""Settings of `gs3d generate`: `--config` with a `base:`, and `--set`."""

import pytest
import yaml

from gs3d.cli.runs.generate import collect
from tests.cli.commands import one_line_fault, run

RUN = ("generate", "a red mushroom", "--steps", "1")


@pytest.fixture
def config_fault(capsys, tiny, tmp_path):
    """The error message for config files with the given texts, of which the first is used."""

    def fault(**texts: str) -> str:
        for name, text in texts.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        message = one_line_fault(capsys, *RUN, *tiny[:-1], str(tmp_path / f"{[*texts][0]}.yaml"))
        assert not (tmp_path / "run").exists()
        return message

    return fault


def test_misspelled_key_names_the_nearest(config_fault):
    message = config_fault(mine="gausians: {count: 5}\n")
    assert "unknown setting 'gausians'; did you mean 'gaussians'" in message


def test_base_that_is_the_file_itself(config_fault):
    message = config_fault(mine="base: mine.yaml\n")
    assert "mine.yaml: base: 'mine.yaml' leads back to itself" in message


def test_bases_in_a_cycle(config_fault):
    message = config_fault(mine="base: other.yaml\n", other="base: mine.yaml\n")
    assert "other.yaml: base: 'mine.yaml' leads back to itself" in message


def test_missing_base_names_the_nearest_preset(config_fault):
    message = config_fault(mine="base: bultin\n")
    assert "mine.yaml: base: " in message and "no such file or preset" in message
    assert "did you mean 'builtin'?" in message


def test_base_supplies_the_settings_that_a_file_lacks(capsys, tiny, tmp_path):
    (tmp_path / "mine.yaml").write_text("base: builtin\nbatch: 2\n")
    status, _, err = run(capsys, *RUN, *tiny[:-1], str(tmp_path / "mine.yaml"))
    assert status == 0, err
    config = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["config"]
    assert config["batch"] == 2 and config["guidance"] == "sds"


def test_set_changes_settings_and_can_be_repeated(capsys, tiny, tmp_path):
    changes = ["--set", "gaussians.count=50", "--set=batch=2", "--set", "losses.sds.cfg.start=9"]
    status, _, err = run(capsys, *RUN, *tiny, *changes)
    assert status == 0, err
    config = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["config"]
    assert config["gaussians"]["count"] == 50 and config["batch"] == 2
    assert config["losses"]["sds"]["cfg"]["start"] == 9


@pytest.mark.parametrize(
    "changes,expected",
    [
        (["gausians.count=5"], "unknown setting 'gausians.count'; did you mean 'gaussians.count'?"),
        (["gaussians.count=many"], "--set gaussians.count=many"),
        (["gaussians.count"], "--set gaussians.count: expected PATH=VALUE"),
        (["batch=2", "gaussians.cuont=5"], "did you mean 'gaussians.count'?"),
        (["stages.2.batch=2"], "this run has one stage; name its setting 'batch'"),
    ],
)
def test_invalid_set(capsys, tiny, tmp_path, changes, expected):
    options = [part for change in changes for part in ("--set", change)]
    assert expected in one_line_fault(capsys, *RUN, *tiny, *options)
    assert not (tmp_path / "run").exists()


def test_set_without_a_value(capsys, tiny):
    assert "--set: expected KEY.PATH=VALUE" in one_line_fault(capsys, *RUN, *tiny, "--set")


@pytest.mark.parametrize(
    "argv,expected",
    [
        (["a", "--seed", "1"], ["a", "--seed", "1"]),
        (["--set", "x=1", "a", "--set", "y=2"], ["a", "--set", "x=1", "y=2"]),
        (["--set=x=1", "a"], ["a", "--set", "x=1"]),
    ],
)
def test_values_of_a_repeated_option_are_collected(argv, expected):
    assert collect(argv, "--set") == expected
