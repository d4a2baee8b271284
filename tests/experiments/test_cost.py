"""Evaluations of the prior that each method needs, and the number of steps that follows."""

import re
from pathlib import Path

import pytest

from gs3d.distill.settings.config import load_config
from gs3d.distill.settings.presets import paper_presets
from gs3d.experiments.cost import evaluations
from gs3d.experiments.methods import Method
from gs3d.experiments.request import Evaluation, methods_of
from gs3d.experiments.sweep import Setup
from gs3d.guidance import GUIDANCE

BATCH = 4
TABLE = Path(__file__).parents[2] / "docs/losses.md"


def setup(**changes) -> Setup:
    settings = {"out": Path("out"), "budget": ("--evaluations", "4000"), "base": "builtin"}
    return Setup(**settings, prior="builtin", prior_hash="", **changes)


def documented() -> dict[str, tuple[float, float]]:
    """Loss -> evaluations of a view in docs/losses.md: the same number twice, or a range."""
    found = {}
    for line in TABLE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 6 and cells[1].startswith("`") and (name := cells[1][1:-1]) in GUIDANCE:
            numbers = [float(n) for n in re.findall(r"[\d.]+", cells[3])]
            found[name] = (numbers[0], numbers[-1])
    return found


@pytest.mark.parametrize("loss", list(GUIDANCE))
def test_evaluations_are_those_of_the_documentation(loss):
    low, high = documented()[loss]
    config = Method.parse(f"{loss},pairs=false").config("builtin")
    without, with_negative = (evaluations(config, negative) / BATCH for negative in (False, True))
    if loss == "vsd":  # with its training
        assert without == with_negative == low + 1.5
    elif loss in ("csd", "nfsd", "gcs"):
        assert 1 <= without < with_negative <= high
    elif loss == "anchored":  # has surface noise here
        assert without == low < with_negative
    else:
        assert low <= without == with_negative <= high


def test_pairs_cost_twice_as_much_and_a_larger_batch_more():
    single, pairs, large = (
        evaluations(Method.parse(f"sds,{change}").config("builtin"), False)
        for change in ("pairs=false", "pairs=true", "pairs=false,batch=8")
    )
    assert pairs == large == 2 * single


def test_equal_evaluations_become_steps():
    made = setup()
    assert made.budget_of(Method.parse("sds,pairs=false")) == ("--steps", "1000")
    assert made.budget_of(Method.parse("sds,pairs=true")) == ("--steps", "500")
    # Two stages with 12 and 4 evaluations a step, of equal length.
    changes = "stages.1.batch=12,share=1,pairs=false"
    assert made.budget_of(Method.parse(f"builtin-magic3d,{changes}")) == ("--steps", "500")
    minutes = Setup(Path("out"), ("--minutes", "3"), "builtin", "builtin", "")
    assert minutes.budget_of(Method.parse("sds")) == ("--minutes", "3")


@pytest.mark.parametrize("large", [False, True])
def test_the_league_has_all_losses_and_presets_of_papers(large):
    base = "splats-15min" if large else "builtin"
    made = Setup(Path("out"), ("--minutes", "3"), base, "x", "", has_negative=large)
    methods = [m.name for m in methods_of(Evaluation(league=True, methods=("sds,batch=8",)), made)]
    assert methods[0] == ("cds" if large else "sds")
    assert set(methods) == {*GUIDANCE, *paper_presets(small=not large), "sds,batch=8"}
    assert len(methods) == len(set(methods)) and methods[-1] == "sds,batch=8"
    assert all(name.startswith("builtin-") != large for name in paper_presets(small=not large))


def test_a_preset_is_a_method_with_its_own_losses():
    method = Method.parse("builtin-prolificdreamer,cfg.start=9")
    assert method.guidance is None and method.name == "builtin-prolificdreamer,cfg.start=9"
    found, preset = method.config("builtin"), load_config("builtin-prolificdreamer")
    assert [type(s.guidance) for s in found.stages] == [type(s.guidance) for s in preset.stages]
    # The change is one of the loss of the first stage.
    assert [s.guidance.cfg.start for s in found.stages] == [9.0, 100.0, 9.0]
    plain = Method.parse("builtin-prolificdreamer")
    assert plain.config("builtin") == plain.config("preview") == preset
    assert plain.fingerprint("builtin") != method.fingerprint("builtin")
