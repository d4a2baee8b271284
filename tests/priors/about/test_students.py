"""Few-step students are told by what their folders say."""

import json

import pytest

from gs3d.core.errors import UserError
from gs3d.distill.settings.config import load_config
from gs3d.priors import load
from gs3d.priors.about.students import why_student
from gs3d.priors.loading.components import Source
from gs3d.runs.planning.students import student_warning
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from tests.conftest import write_tiny_sd
from tests.distill.test_contracts import GrayPrior


def write(folder, scheduler: str = "EulerDiscreteScheduler", origin: str = "", **settings):
    """The two files that say it."""
    (folder / "scheduler").mkdir(parents=True)
    settings = {"_class_name": scheduler, **settings}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(settings))
    index = {"scheduler": ["diffusers", scheduler]} | ({"_name_or_path": origin} if origin else {})
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    "name, scheduler, settings, words",
    [
        ("a/b", "LCMScheduler", {}, "its scheduler is of the class LCMScheduler"),
        ("a/b", "TCDScheduler", {}, "its scheduler is of the class TCDScheduler"),
        (
            "stabilityai/sd-turbo",
            "EulerDiscreteScheduler",
            {"timestep_spacing": "trailing"},
            '"turbo" in its name and trailing time steps',
        ),
        (
            "/models/SDXL-Lightning-4step/",
            "EulerDiscreteScheduler",
            {"timestep_spacing": "trailing"},
            '"lightning" in its name and trailing time steps',
        ),
        (
            "someone/Hyper-SD15-merged",
            "DDIMScheduler",
            {"timestep_spacing": "trailing"},
            '"hyper-sd15" in its name and trailing time steps',
        ),
        (
            "black-forest-labs/FLUX.1-schnell",
            "FlowMatchEulerDiscreteScheduler",
            {},
            '"schnell" in its name',
        ),
        (
            "stabilityai/stable-diffusion-3.5-large-turbo",
            "FlowMatchEulerDiscreteScheduler",
            {},
            '"turbo" in its name',
        ),
        # No proof: a name alone, trailing time steps alone, a word inside another, another folder.
        ("stabilityai/sd-turbo", "EulerDiscreteScheduler", {"timestep_spacing": "leading"}, None),
        ("a/b", "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, None),
        ("a/turbocharged", "DDIMScheduler", {"timestep_spacing": "trailing"}, None),
        ("turbo/sdxl", "DDIMScheduler", {"timestep_spacing": "trailing"}, None),
        ("stabilityai/stable-diffusion-3.5-large", "FlowMatchEulerDiscreteScheduler", {}, None),
    ],
)
def test_what_tells_a_student(tmp_path, name, scheduler, settings, words):
    assert why_student(write(tmp_path / "model", scheduler, **settings), name) == words


def test_name_that_the_model_was_saved_from(tmp_path):
    trailing = {"timestep_spacing": "trailing"}
    folder = write(tmp_path / "model", origin="stabilityai/sdxl-turbo", **trailing)
    assert why_student(folder, "my-model") == '"turbo" in its name and trailing time steps'


def test_other_folders_are_none(tmp_path, tiny_sd_folder, tiny_xl_folder, tiny_builtin_folder):
    for folder in (tiny_sd_folder, tiny_xl_folder, tiny_builtin_folder, tmp_path):
        assert why_student(folder, "model") is None
    (tmp_path / "model_index.json").write_text('["turbo"]')
    assert why_student(tmp_path, "turbo") is None


def with_lcm_scheduler(folder):
    """The same weights with the scheduler of a latent consistency model."""
    from diffusers import LCMScheduler

    LCMScheduler().save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "LCMScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_student_loads_and_a_run_with_it_is_warned(tmp_path):
    folder = with_lcm_scheduler(write_tiny_sd(tmp_path / "model"))
    assert load(folder, "cpu").latent_shape == (4, 8, 8)
    plan = prepare(Request("a red car", steps=2, prior=str(folder), out=tmp_path / "out"))
    (line,) = [m.text for m in plan.messages if "few-step student" in m.text]
    assert "not 20 to 12 (`--set losses.cds.cfg.start=1" in line


def test_student_with_the_guidance_scale_as_an_input_is_refused(tmp_path):
    unet = {"time_cond_proj_dim": 8}
    folder = with_lcm_scheduler(write_tiny_sd(tmp_path / "model", unet=unet))
    with pytest.raises(UserError, match="its unet wants the guidance scale beside the text"):
        load(folder, "cpu")


def test_warning_names_the_student_and_the_settings(tmp_path):
    student = Source("a/lcm", write(tmp_path / "model", "LCMScheduler"))
    config = load_config("splats-15min", None, ())
    (message,) = student_warning(student, config)
    assert message.is_warning and message.text == (
        "prior a/lcm: a few-step student (its scheduler is of the class LCMScheduler), trained for "
        "1 to 8 steps without guidance; its guidance scale should be about 1, not 20 to 12 "
        "(`--set losses.cds.cfg.start=1 --set losses.cds.cfg.end=1`)"
    )
    changed = ("losses.cds.cfg.start=1", "losses.cds.cfg.end=1")
    assert student_warning(student, load_config("splats-15min", None, changed)) == []
    assert student_warning(Source("a/b", write(tmp_path / "other")), config) == []
    assert student_warning(GrayPrior(), config) == []
