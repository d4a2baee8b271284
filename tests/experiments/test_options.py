"""Options of the runs of a sweep, losses of files, and what both add to a fingerprint."""

import dataclasses
from pathlib import Path

import pytest

from gs3d.core.errors import UserError
from gs3d.experiments.methods import Method
from gs3d.experiments.options import Options
from gs3d.experiments.setup import Setup
from gs3d.experiments.sweep import Job, _settings_of, sweep
from gs3d.runs.starts import builtin
from tests.guidance.test_loss_file import MINE


@pytest.fixture
def setup(tmp_path):
    (tmp_path / "out").mkdir()
    return Setup(tmp_path / "out", ("--steps", "1"), "builtin", "builtin", "weights")


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return f"{tmp_path}/mine.py:Mine"


def test_options_of_a_method_take_the_place_of_those_of_all():
    every = Options(start=Path("a.ply"), lora=("x:0.5",), device="cpu")
    assert every.flags == ["--start", "a.ply", "--lora", "x:0.5", "--device", "cpu"]
    assert Options().flags == [] and Options().given == {} and Options().identity == ()
    method = Method.parse("cds,start=builtin,lora=y,lora=z:0.1,cfg.start=3")
    assert method.paths == ("losses.cds.cfg.start=3",)
    found = every.with_those(method.options)
    assert (found.start, found.lora, found.device) == (Path("builtin"), ("y", "z:0.1"), "cpu")
    none = every.with_those(Method.parse("cds,start=null, lora = none").options)
    assert (none.start, none.lora) == (None, ())
    assert every.with_those(()) == every
    seeds = Options().with_those(Method.parse("cds,seeds=4").options)
    assert seeds.flags == ["--seeds", "4"] and seeds.identity == ("seeds 4",)
    home = Options().with_those([("start", "~/a.ply")]).start
    assert home == Path("~/a.ply").expanduser()
    with pytest.raises(UserError, match="methods: lora=: expected a value as of lora, or null"):
        every.with_those([("lora", " ")])


def test_setting_of_a_loss_comes_before_an_option_of_its_name(mine, tmp_path):
    (tmp_path / "mine.py").write_text(MINE.replace("scale", "start"))
    method = Method.parse(f"{mine},start=4")
    assert method.options == () and method.paths == ("losses.Mine.start=4",)
    assert method.config("builtin").stages[0].guidance.start == 4


def test_fingerprint_depends_on_options_and_their_content(setup, tmp_path, monkeypatch):
    method = Method.parse("cds")
    (tmp_path / "a.obj").write_text("v 0 0 0\n")

    def fingerprint(text: str = "cds", **options) -> str:
        one = dataclasses.replace(setup, options=Options(**options))
        return one.fingerprint(Method.parse(text))

    plain, file = setup.fingerprint(method), fingerprint(start=tmp_path / "a.obj")
    found = [
        plain,
        file,
        fingerprint(start=Path("builtin")),
        fingerprint(start=Path("shap-e")),
        fingerprint(vram=8),
        fingerprint(raster="cpu"),
        fingerprint(device="cpu"),
    ]
    assert len(set(found)) == len(found)
    assert fingerprint(f"cds,start={tmp_path}/a.obj") == file
    (tmp_path / "a.obj").write_text("v 1 1 1\n")
    assert fingerprint(start=tmp_path / "a.obj") != file
    monkeypatch.setattr(builtin, "STEPS", 3)
    assert fingerprint(start=Path("builtin")) != found[2]


def test_fingerprint_depends_on_the_code_of_a_file_as_it_was_read(setup, mine, tmp_path):
    first = Method.parse(mine)
    before = setup.fingerprint(first)
    (tmp_path / "mine.py").write_text(MINE + "# words\n")
    assert setup.fingerprint(Method.parse(mine)) == before
    (tmp_path / "mine.py").write_text(MINE + "edited = 1\n")
    assert setup.fingerprint(first) == before != setup.fingerprint(Method.parse(mine))


def test_all_runs_get_the_code_that_the_sweep_began_with(setup, mine, tmp_path, monkeypatch):
    method, calls = Method.parse(mine), []
    monkeypatch.setattr(
        "gs3d.experiments.sweep._run", lambda job, setup, settings, *_: calls.append(settings)
    )
    (tmp_path / "mine.py").write_text("raise SystemExit")
    setup = dataclasses.replace(setup, options=Options(raster="cpu"))
    list(sweep([Job("a red duck", method, seed) for seed in (0, 1)], setup, lambda job, run: run))
    assert len(calls) == 2 and calls[0] == calls[1] == _settings_of(method, setup)
    flags = dict(zip(calls[0][::2], calls[0][1::2], strict=True))
    file, name = flags["--guidance"].split(":")
    assert (Path(file).read_text(), name, flags["--raster"]) == (MINE, "Mine", "cpu")
    assert "guidance: Mine" in Path(flags["--config"]).read_text()


@pytest.mark.parametrize(
    "text, chosen, expected",
    [
        ("cds,batch=8,start=null", False, ["--set", "batch=8", "--guidance", "cds"]),
        ("cds,batch=8,start=null", True, ["--config", "cds-batch-8-start-null"]),
        ("builtin-magic3d", False, ["--config", "builtin-magic3d"]),
    ],
)
def test_a_preset_that_nobody_chose_is_left_to_the_runs(setup, text, chosen, expected):
    """`gs3d generate` fits it to the prior."""
    setup = dataclasses.replace(setup, base_is_chosen=chosen)
    setup.out.mkdir(exist_ok=True)
    found = _settings_of(Method.parse(text), setup)
    assert found[: len(expected) - 1] == expected[:-1]
    assert Path(found[-1]).name.startswith(expected[-1])
