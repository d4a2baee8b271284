"""Evaluations of the prior that each method needs, and the number of steps that follows."""

import re
from pathlib import Path

import pytest

from gs3d.core.errors import UserError
from gs3d.distill.settings.config import load_config
from gs3d.distill.settings.presets import paper_presets
from gs3d.experiments.cost import evaluations
from gs3d.experiments.methods import Method
from gs3d.experiments.request import Evaluation, methods_of, setup_of
from gs3d.experiments.setup import Setup
from gs3d.guidance import GUIDANCE
from gs3d.priors import ViewPrompts, load

BATCH = 4
DECODING = """from dataclasses import dataclass

from gs3d.guidance import GuidanceOut


@dataclass(frozen=True)
class Decoding:
    def __call__(self, prior, condition, z0, progress, seed, step):
        # The prior that counts has no decoder.
        image = prior.decode(z0)
        return GuidanceOut(image.mean() * z0, log={"t": 0.5})
"""
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


def test_random_times_are_counted_over_the_whole_run():
    """Both need half an evaluation less below a time: t is uniform in [0.02, 0.98], or in a window
    that slides down (nfsd below 0.2, sctd below 0.15)."""
    nfsd, sctd = (
        evaluations(Method.parse(loss).config("splats-15min"), True) / BATCH
        for loss in ("nfsd", "sctd")
    )
    assert nfsd == pytest.approx(1.5 - 0.5 * 0.18 / 0.96, abs=0.05)
    low = (0.15 - 0.02) / 0.48  # in the last 70 % of the run, and nearly never before
    assert sctd == pytest.approx(2.5 - 0.5 * 0.7 * low, abs=0.08)


def test_perp_neg_and_pairs_of_a_lora_are_counted():
    def of(text):
        return evaluations(Method.parse(text).config("builtin"), False) / BATCH

    # Two wrong views beside the two texts.
    assert of("sds,pairs=false,perp_neg=1") == 2 * of("sds,pairs=false") == 2
    # The LoRA is evaluated for both noises, and trained once.
    assert of("vsd") == 1 + 0.5 + 1.5
    assert of("vsd,pairs=true") == 2 * (1 + 0.5) + 1.5


@pytest.mark.parametrize(
    ("prior", "has_negative", "like_builtin"),
    [("builtin", False, True), ("builtin-512", False, False)],
)
def test_negative_prompt_is_that_of_a_run(prior, has_negative, like_builtin):
    """A closed vocabulary has no negative prompt, whatever the form of the latents."""
    made, _ = setup_of(Evaluation("tuning", prior=prior), ["a red mushroom"], print)
    assert (made.has_negative, made.is_like_builtin) == (has_negative, like_builtin)
    prompts = ViewPrompts.of(load(prior, "cpu"), "a red mushroom")
    assert (prompts.empty is not None) is has_negative


def test_loss_that_cannot_be_counted_is_one_line(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(DECODING)
    method = Method.parse(f"{file}:Decoding")
    with pytest.raises(UserError, match=r"Decoding cannot be counted.*own.py line 10.*minutes"):
        setup().budget_of(method)
    minutes = Setup(tmp_path, ("--minutes", "3"), "builtin", "builtin", "")
    assert minutes.budget_of(method) == ("--minutes", "3")


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
    made = Setup(Path("out"), ("--minutes", "3"), base, "x", "", is_like_builtin=not large)
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


def test_the_league_of_a_prior_of_several_views_has_no_loss_that_learns():
    made = Setup(Path("out"), ("--minutes", "3"), "splats-15min", "x", "", views=4)
    methods = [m.name for m in methods_of(Evaluation(league=True), made)]
    assert "vsd" not in methods and "builtin-prolificdreamer" not in methods
    assert {"cds", "builtin-magic3d"} <= set(methods)
