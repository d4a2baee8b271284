"""From a request to a plan: what is refused, and what the user is warned about."""

import dataclasses

import pytest
import torch
import yaml

from gs3d.core.errors import UserError
from gs3d.priors.loading.components import Source
from gs3d.runs import prepare as prepare_module
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from tests.distill.test_contracts import GrayPrior
from tests.runs.running import FIELD_THEN_SURFACE, SPLATS_THEN_SURFACE, copy_of, generate


def warnings_of(request, **changes) -> list[str]:
    plan = prepare(dataclasses.replace(request, **changes))
    return [message.text for message in plan.messages if message.is_warning]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_missing_device_is_named_as_it_was_given(splats_request):
    with pytest.raises(UserError, match="device cuda:7: torch finds no CUDA here"):
        prepare(dataclasses.replace(splats_request, device="cuda:7"))


def test_device_of_a_prior_object_may_be_text(splats_request):
    prior = GrayPrior()
    prior.device = "cpu"
    assert prepare(dataclasses.replace(splats_request, prior=prior)).device == "cpu"


def test_change_that_does_not_fit_names_the_preset_and_its_prior(splats_request):
    change = ("losses.cds.cfg.start=9",)
    with pytest.raises(
        UserError, match=r"change nothing \(preset builtin, for the prior builtin\)"
    ):
        prepare(dataclasses.replace(splats_request, prior="auto", config=None, set=change))


@pytest.mark.parametrize(
    "mode,config,warned",
    [
        ("mesh", "builtin", "optimizes splats; leave one"),
        ("two-stage", SPLATS_THEN_SURFACE, "optimizes splats, then dmtet; leave one"),
        ("mesh", SPLATS_THEN_SURFACE, None),
        ("two-stage", FIELD_THEN_SURFACE, None),
        ("splats", SPLATS_THEN_SURFACE, None),  # the default, which the user need not have given
        ("mesh", None, None),
    ],
)
def test_config_that_contradicts_the_mode_is_a_warning(splats_request, mode, config, warned):
    if config in (None, "builtin"):
        path = config
    else:
        (path := splats_request.config).write_text(config)
    found = warnings_of(splats_request, mode=mode, config=path)
    assert len(found) == (warned is not None)
    if warned:
        assert found[0].startswith(f"--mode {mode}: has no effect with --config {path}")
        assert warned in found[0]


def test_recorded_prior_object_that_is_not_used_is_a_warning(splats_request, no_results, tmp_path):
    request = dataclasses.replace(splats_request, prior=GrayPrior(), steps=1)
    record = generate(request).folder / "run.yaml"
    again = {"config": record, "out": tmp_path / "again"}
    (text,) = warnings_of(request, **again, prior="auto")
    assert text.startswith(
        f"--config {record}: that run used the object 'gray' of a Python program"
    )
    assert text.endswith("as its prior; this one uses the prior builtin")
    # A prior that the user names is no surprise.
    assert not warnings_of(request, **again)
    assert not warnings_of(request, **again, prior="builtin")


def test_wrong_prior_object_is_refused_when_its_run_starts(splats_request):
    prior = GrayPrior()
    prior.embed = lambda prompts: torch.zeros(len(prompts), 5)
    with pytest.raises(UserError, match="prior: GrayPrior.embed returned a tensor"):
        generate(dataclasses.replace(splats_request, prior=prior))
    assert not splats_request.out.exists()


def test_result_of_a_guidance_object_is_checked_before_the_first_step(splats_request):
    def forgetful(prior, condition, z0, progress, seed, step):
        pass

    with pytest.raises(UserError, match="guidance: forgetful returned None; expected a gs3d.Guid"):
        generate(dataclasses.replace(splats_request, guidance=forgetful))
    assert not splats_request.out.exists()


def test_signature_of_a_guidance_object_is_checked_without_a_prior(splats_request):
    request = dataclasses.replace(splats_request, guidance=lambda z0: None, prior="no such prior")
    with pytest.raises(UserError, match="cannot be called with the six positional arguments"):
        prepare(request)


def test_the_time_of_a_download_is_no_part_of_the_minutes(monkeypatch, tmp_path, tiny_sd_folder):
    def downloaded(name: str) -> Source:
        return Source(name, tiny_sd_folder, download_s=700.0)

    monkeypatch.setattr(prepare_module, "resolve", downloaded)
    request = Request(prompt="a corgi", prior="sd21-base", device="cpu", out=tmp_path / "a")
    assert prepare(request, 4.0).started == 704.0


def test_the_reason_of_a_download_comes_before_it(
    monkeypatch, tmp_path, tiny_sd_folder, card, capsys
):
    def downloaded(name: str) -> Source:
        assert 'the built-in prior does not know "corgi"' in capsys.readouterr().err
        return Source(name, tiny_sd_folder)

    monkeypatch.setattr(prepare_module, "resolve", downloaded)
    monkeypatch.setattr(prepare_module, "is_cached", lambda name: False)
    assert prepare(Request(prompt="a corgi", out=tmp_path / "a")).prior.name == "sd21-base"


def test_a_resumed_run_keeps_its_prior(finished_splats, tmp_path, splats_request, monkeypatch):
    copy_of(finished_splats, splats_request)
    monkeypatch.setattr(prepare_module, "default_prior", lambda *_: ("sd21-base", ""))
    request = dataclasses.replace(
        splats_request, prior="auto", resume=True, prompt="a red mushroom"
    )
    assert str(prepare(request).prior.folder) == splats_request.prior


def test_prior_lora_and_start_of_the_run_of_a_config_are_named(splats_request, tmp_path):
    result = generate(dataclasses.replace(splats_request, steps=1))
    record = result.folder / "run.yaml"
    again = {"config": record, "out": tmp_path / "again"}
    assert not prepare(dataclasses.replace(splats_request, **again)).messages  # the same prior
    used = f"--config {record}: that run used the prior {splats_request.prior}"
    end = "; this one uses the prior builtin"
    assert warnings_of(splats_request, **again, prior="auto") == [used + end]
    # A prior that the user names is no surprise, so this is no warning.
    named = prepare(dataclasses.replace(splats_request, **again, prior="builtin"))
    assert [m.text for m in named.messages] == [used + end] and not named.messages[0].is_warning

    tree = yaml.safe_load(record.read_text())
    lora = {"name": "one.safetensors", "weight": 0.5, "source": "x", "sha256": "0123"}
    tree["prior"]["lora"], tree["start"] = [lora], "there.ply"
    record.write_text(yaml.safe_dump(tree))
    used = f"--config {record}: that run used the LoRA one.safetensors:0.5, --start there.ply"
    end = "; this one uses no LoRA, no --start"
    assert warnings_of(splats_request, **again) == [used + end]
