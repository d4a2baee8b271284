"""--vram: what a card of a size asks of a run, and that the run keeps it."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors import safe_open

from gs3d.core.errors import UserError
from gs3d.distill.settings.config import load_config
from gs3d.distill.settings.stages import RunConfig
from gs3d.priors.loading.components import Source
from gs3d.priors.loading.resolve import load
from gs3d.runs.planning import vram
from gs3d.runs.planning.model_size import Model, model_of
from gs3d.runs.planning.vram import check_micro_batch, fitted_to_card
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from tests.runs.running import generate, request_for

SD21 = Model(1.9, 0.68, 1.0, "taesd")
SDXL = Model(5.3, 1.64, 4.0, "madebyollin/taesdxl")
SD3 = Model(5.3, 11.1, 4.0, "madebyollin/taesd3")
IF = Model(8.6, 9.5, 0.0, None)
FLUX = Model(24.0, 9.7, 1.0, "madebyollin/taef1")
SMALL = Model(0.04, 0.01, 0.0, None)
SPLATS = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [16]}}
gaussians: {count: 200}
losses:
  cds: {cfg: {start: 5, end: 5}}
guidance: cds
"""


@pytest.fixture
def chosen(monkeypatch):
    """A function from a row, a model and a config to the changed settings and the messages."""

    def choose(gb, model, config=None, views=1, obtained=lambda name: name, recorded=None):
        config = load_config("splats-15min") if config is None else config
        monkeypatch.setattr(vram, "model_of", lambda source, device: model)
        monkeypatch.setattr(vram, "resolve_autoencoder", obtained)
        monkeypatch.setattr(Source, "views", views)
        messages = []
        source = Source("sd", "folder")
        request = Request("a cat", vram=gb)
        fitted, kept = fitted_to_card(config, request, source, "cuda", recorded, messages)
        changed = {
            f.name: getattr(fitted, f.name)
            for f in dataclasses.fields(RunConfig)
            if getattr(fitted, f.name) != getattr(config, f.name)
        }
        return changed, [message.text for message in messages], kept.vram

    return choose


@pytest.mark.parametrize(
    "gb,model,expected",
    [
        (8, SD21, {"micro_batch": 1, "text_on_cpu": True}),
        (12, SD21, {}),
        (16, SD21, {}),
        (24, SD21, {}),
        (8, SDXL, {"micro_batch": 1, "vae": "madebyollin/taesdxl", "text_on_cpu": True}),
        (12, SDXL, {"micro_batch": 1, "checkpoint_encoder": True}),
        (16, SDXL, {"micro_batch": 1, "checkpoint_encoder": True}),
        (24, SDXL, {"micro_batch": 1}),
        (16, SD3, {"micro_batch": 1, "checkpoint_encoder": True, "text_on_cpu": True}),
        (24, SD3, {"micro_batch": 1}),
        (12, IF, {"text_on_cpu": True}),
        (24, IF, {"text_on_cpu": True}),
        (8, SMALL, {}),
    ],
)
def test_choices(chosen, gb, model, expected):
    changed, messages, kept = chosen(gb, model)
    assert changed == expected and kept == gb
    assert len(messages) == 1 and messages[0].startswith(f"--vram {gb}: ")
    for name in expected:
        assert f"({name})" in messages[0]


def test_messages(chosen):
    assert chosen(8, SD21)[1] == [
        "--vram 8: 1 view of 4 at once (micro_batch), prompts embedded on the CPU (text_on_cpu)"
    ]
    assert chosen(12, SD21)[1] == ["--vram 12: room for all 4 views at once"]


@pytest.mark.parametrize("gb", vram.SIZES)
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 8, 12])
def test_the_batch_fits_into_the_room_of_its_row(chosen, gb, batch):
    """The sum of docs/gpu.md, with the numbers measured there, stays below the card's size."""
    config = load_config("splats-15min", changes=[f"batch={batch}"])
    rows = chosen(gb, SD21, config)[0].get("micro_batch", batch)
    assert batch % rows == 0
    measured = {4: 9.2, 12: 23.4}
    whole = 2.2 + (1.61 + 0.17) * batch
    if batch in measured:
        assert whole == pytest.approx(measured[batch], rel=0.03)
    needed = 2.2 + 1.61 * rows + 0.17 * batch
    assert needed + 0.3 + 0.6 + 0.8 < gb * 1.0737


def test_settings_of_the_user_stay(chosen):
    config = dataclasses.replace(load_config("splats-15min"), micro_batch=2, vae="taesd")
    assert chosen(8, SD21, config)[0] == {"text_on_cpu": True}
    config = load_config("splats-15min", changes=["checkpoint_encoder=true"])
    assert chosen(8, SDXL, config)[0] == {"micro_batch": 1, "text_on_cpu": True}
    config = load_config("splats-15min", changes=["vae=taesd"])
    assert chosen(8, SD21, config)[0] == {"text_on_cpu": True}
    config = load_config("splats-15min", changes=["vae_backward=taesd"])
    assert chosen(12, SDXL, config)[0] == {"micro_batch": 1}


def test_without_the_tiny_autoencoder_the_priors_own_is_used(chosen):
    def missing(name):
        raise UserError(f"vae {name}: not in the cache")

    changed, (message, warning), _ = chosen(8, SDXL, obtained=missing)
    assert changed == {"micro_batch": 1, "checkpoint_encoder": True, "text_on_cpu": True}
    assert "without the tiny autoencoder madebyollin/taesdxl, which cannot be had" in message
    assert "no room for 1 view at once" in warning


@pytest.mark.parametrize(
    "gb,model,expected",
    [
        (8, SD21, {"micro_batch": 1, "checkpoint_encoder": True, "text_on_cpu": True}),
        (12, SD21, {"micro_batch": 2}),
        (16, SD21, {"micro_batch": 2}),
        (12, SDXL, {"micro_batch": 1, "vae": "madebyollin/taesdxl"}),
    ],
)
def test_an_autoencoder_in_float32_counts_twice(chosen, gb, model, expected):
    assert chosen(gb, dataclasses.replace(model, wide=2.0))[0] == expected


@pytest.mark.parametrize("recorded", [{"config": {}}, {"vram": 12, "config": {"vae": None}}])
def test_a_resumed_run_gets_no_other_autoencoder(chosen, recorded):
    expected = {"micro_batch": 1, "checkpoint_encoder": True, "text_on_cpu": True}
    assert chosen(8, SDXL, recorded=recorded)[0] == expected


def test_groups_of_views_stay_together(chosen):
    mvdream = Model(1.9, 0.68, 0.25, "taesd")
    config = load_config("splats-15min", changes=["batch=12"])
    assert chosen(8, mvdream, config, views=4)[0]["micro_batch"] == 4


def test_one_micro_batch_for_stages_with_different_batches(chosen):
    config = load_config("two-stage", changes=["stages.1.batch=8"])
    assert {stage.batch for stage in config.stages} == {8, 12}
    assert chosen(16, SD21, config)[0]["micro_batch"] == 4
    check_micro_batch(dataclasses.replace(config, micro_batch=4), 1, "sd")


def test_a_model_that_is_larger_than_the_card_is_a_warning(chosen):
    texts = chosen(16, Model(24.0, 9.7, 4.0, "madebyollin/taef1"))[1]
    assert texts[1] == (
        "--vram 16: the weights of the prior sd alone take 24.0 GB, so memory will run out; use a "
        "smaller model"
    )


def test_a_model_that_leaves_no_room_is_a_warning(chosen):
    texts = chosen(24, FLUX)[1]
    assert texts[1:] == [
        "--vram 24: beside the weights of the prior sd there is no room for 1 view at once, so "
        "memory may run out; use a smaller model"
    ]


@pytest.mark.parametrize(
    "gib,expected", [(31.4, {"text_on_cpu": True}), (39.4, {}), (80.0, {})], ids=str
)
def test_text_encoders_that_do_not_fit_beside_a_large_model(chosen, monkeypatch, gib, expected):
    monkeypatch.setattr(vram, "card_gb", lambda device: gib)
    changed, texts, kept = chosen("auto", FLUX)
    assert changed == expected and kept == "auto"
    said = f"for a card of {gib:.0f} GB: prompts embedded on the CPU (text_on_cpu)"
    assert texts == [said] * len(expected)


@pytest.mark.parametrize(
    "gib,row", [(4.0, 8), (7.6, 8), (10.75, 8), (11.7, 12), (14.6, 16), (22.1, 24), (23.6, 24)]
)
def test_auto_asks_the_card(chosen, monkeypatch, gib, row):
    properties = SimpleNamespace(total_memory=int(gib * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    changed, texts, kept = chosen("auto", SD21)
    assert kept == row and changed == ({"micro_batch": 1, "text_on_cpu": True} if row == 8 else {})
    warnings = [text for text in texts if "less than the 8" in text]
    assert bool(warnings) == (gib < 7)
    said = (
        "for a card of 8 GB (--vram): 1 view of 4 at once (micro_batch), prompts embedded on the "
    )
    assert [t for t in texts if t not in warnings] == [f"{said}CPU (text_on_cpu)"] * (row == 8)


def test_a_large_card_changes_nothing(chosen, monkeypatch):
    properties = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    assert chosen("auto", SD3) == ({}, [], "auto")


def test_other_cards_than_cuda(monkeypatch):
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 12 * 2**30)
    properties = SimpleNamespace(total_memory=16 * 2**30)
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda _: properties)
    assert vram.card_gb("mps") == 12 and vram.card_gb("xpu") == 16


def test_sizes_are_those_of_the_files(tiny_sd_folder, card, monkeypatch):
    count = {}
    for part in ("unet", "vae", "text_encoder"):
        count[part] = 0
        for file in (tiny_sd_folder / part).glob("*.safetensors"):
            with safe_open(file, "pt") as f:
                count[part] += sum(math.prod(f.get_slice(k).get_shape()) for k in f.keys())  # noqa: SIM118
    model = model_of(Source("tiny", tiny_sd_folder), "cuda")
    assert model.weights_gb == pytest.approx(2e-9 * (count["unet"] + count["vae"]), rel=1e-6)
    assert model.text_gb == pytest.approx(2e-9 * count["text_encoder"], rel=1e-6)
    assert model.area == (16 / 512) ** 2 and model.tiny == "taesd" and model.wide == 1
    # A card without bfloat16 has the autoencoder in float32.
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    model = model_of(Source("tiny", tiny_sd_folder), "cuda")
    assert model.weights_gb == pytest.approx(2e-9 * (count["unet"] + 2 * count["vae"]), rel=1e-6)
    assert model.wide == 2


def test_models_on_pixels_have_no_autoencoder(tiny_builtin_folder):
    model = model_of(Source("tiny", tiny_builtin_folder), "cpu")
    assert model.area == 0 and model.tiny is None and model.weights_gb > 0


@pytest.fixture
def tiny_request(tiny_sd_folder, tmp_path, monkeypatch):
    """A request on a card on which one view of the tiny model is as much as one of a real one."""
    monkeypatch.setattr(vram, "ENCODER_GB", 1.6 / (16 / 512) ** 2)
    monkeypatch.setattr(vram, "SMALL_GB", 0.0)
    return request_for(tiny_sd_folder, tmp_path, SPLATS, 3, device="cuda")


def test_a_run_records_what_was_chosen_and_keeps_it(tiny_request, card, monkeypatch):
    lines = []
    result = generate(dataclasses.replace(tiny_request, vram=8), say=lines.append)
    assert result.outcome == "finished" and not result.warnings
    assert [line for line in lines if "vram" in line] == [
        "--vram 8: 1 view of 4 at once (micro_batch), prompts embedded on the CPU (text_on_cpu)"
    ]
    record = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert record["vram"] == 8
    assert record["config"]["micro_batch"] == 1 and record["config"]["text_on_cpu"] is True
    # On a larger card, which auto would ask, the run goes on as it began.
    monkeypatch.setattr(vram, "card_gb", lambda device: 80.0)
    again = dataclasses.replace(tiny_request, resume=True, steps=4)
    plan = prepare(again)
    assert plan.config.micro_batch == 1 and plan.request.vram == 8
    assert prepare(dataclasses.replace(again, vram=24)).config.micro_batch is None
    assert generate(again).steps == 4


def test_a_resumed_run_keeps_its_tiny_autoencoder(chosen):
    recorded = {"vram": 8, "config": {"vae": "madebyollin/taesdxl"}}
    for asked in ("auto", 8, 24):
        changed, _, _ = chosen(asked, SDXL, recorded=recorded)
        assert changed["vae"] == "madebyollin/taesdxl"


def test_the_text_encoder_is_never_on_the_card(tiny_sd_folder, card):
    prior = load(tiny_sd_folder, "cuda", text_on_cpu=True)
    assert {str(p.device) for p in prior.text.model.parameters()} == {"cpu"}
    assert prior.text.model.dtype == torch.float32
    text = prior.embed(["a red duck"])
    assert text.device.type == "cuda" and text.dtype == torch.float32
    other = load(tiny_sd_folder, "cuda").embed(["a red duck"])
    torch.testing.assert_close(text.cpu(), other.cpu(), atol=0.02, rtol=0)


def test_no_effect_on_the_cpu(tiny_request):
    request = dataclasses.replace(tiny_request, device="cpu", vram=12)
    plan = prepare(request)
    (message,) = (message for message in plan.messages if "vram" in message.text)
    assert message.text == "--vram 12: has no effect on the CPU" and not message.is_warning
    assert plan.config.micro_batch is None and plan.request.vram == "auto"
    messages = prepare(dataclasses.replace(request, vram="auto")).messages
    assert not any("vram" in message.text for message in messages)


def test_no_effect_on_a_prior_object(tiny_request, card):
    plan = prepare(dataclasses.replace(tiny_request, prior="builtin-512", vram=8))
    texts = [message.text for message in plan.messages]
    assert any("--vram 8: has no effect on the prior builtin-512" in text for text in texts)
