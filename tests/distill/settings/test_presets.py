"""The presets that are shipped with gs3d."""

import pytest

from gs3d.distill.settings.config import config_tree, load_config, parse_config
from gs3d.distill.settings.presets import misfit, preset_names
from gs3d.guidance import GUIDANCE


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("loss", list(GUIDANCE))
def test_preset_round_trips_with_each_loss(preset, loss):
    config = load_config(preset, loss)
    assert all(isinstance(stage.guidance, GUIDANCE[loss]) for stage in config.stages)
    assert parse_config(config_tree(config), "again") == config


OWN = [
    "builtin",
    "builtin-mesh",
    "builtin-scene",
    "builtin-two-stage",
    "mesh",
    "preview",
    "scene",
    "splats-15min",
    "two-stage",
]
PAPERS = [
    "consistent3d",
    "dreamfusion",
    "dreamgaussian",
    "gaussiandreamer",
    "luciddreamer",
    "magic3d",
    "prolificdreamer",
]


def test_preset_names():
    """Each paper has a preset for a large prior and one for the built-in prior."""
    assert preset_names() == sorted([*OWN, *PAPERS, *(f"builtin-{name}" for name in PAPERS)])


@pytest.mark.parametrize(
    "name,small,other",
    [
        ("dreamfusion", True, "builtin-dreamfusion"),
        ("builtin-dreamfusion", False, "dreamfusion"),
        ("two-stage", True, "builtin-two-stage"),
        ("preview", True, "builtin"),
        ("builtin", False, "splats-15min"),
    ],
)
def test_a_preset_for_other_priors_names_the_one_that_fits(name, small, other):
    assert (misfit(name, small) or "").endswith(f"for this one there is {other}")
    assert misfit(other, small) is None
    assert misfit(name, not small) is None
    assert misfit(f"{name}.yaml", small) is misfit(None, small) is None


@pytest.mark.parametrize("paper", PAPERS)
def test_presets_of_a_paper_have_its_loss_and_stages_for_both_kinds_of_prior(paper):
    large, small = load_config(paper), load_config(f"builtin-{paper}")
    stages = [
        [(stage.representation, type(stage.guidance)) for stage in c.stages] for c in (large, small)
    ]
    assert stages[0][: len(stages[1])] == stages[1]
    for one, other in zip(large.stages, small.stages, strict=False):
        assert one.guidance.t.ends == other.guidance.t.ends
        assert one.guidance.noise == other.guidance.noise
        assert one.guidance.random_t == other.guidance.random_t
