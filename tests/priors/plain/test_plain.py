"""The networks in plain torch compute what diffusers and transformers do, and need neither."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from gs3d.core import rng
from gs3d.core.views.words import EXACT_VIEWS
from gs3d.priors import builtin, prompts
from gs3d.priors.adapter.opened import projections, time_module
from gs3d.priors.loading import components
from gs3d.priors.plain._gelu import gelu_
from gs3d.priors.plain.text import TextModel, Tokenizer
from gs3d.priors.plain.transformer import Transformer, equal_at_end

CPU = torch.device("cpu")
TEXTS = [
    "a red mushroom with white spots, 45 degrees left, 15 up",
    "",
    "A BLUE zebra, xyzzy!",
    "red car " * 30,
]


def read(folder, plain, dtype=torch.float32):
    source = components.Source("a model", folder)
    return components.read(source, CPU, dtype, dtype, plain=plain)


def text_encoder_names() -> list[str]:
    return list(builtin.new_text_encoder(builtin.new_tokenizer(TEXTS)).state_dict())


@pytest.fixture(params=["shipped", "four views"])
def folder(request, tmp_path):
    """The shipped model, and one of other sizes with every weight random."""
    if any(name.startswith("text_model.") for name in text_encoder_names()):
        pytest.skip("older releases of transformers have other names for the layers of CLIP")
    if request.param == "shipped":
        return builtin.FOLDER
    tokenizer = builtin.new_tokenizer(TEXTS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = builtin.new_backbone(64, layers=2, heads=2, head_width=32)
        torch.nn.init.normal_(backbone.proj_out.weight)
        encoder = builtin.new_text_encoder(tokenizer)
    builtin.save(tmp_path, backbone, encoder, tokenizer, views=4)
    return tmp_path


def test_text_is_that_of_transformers(folder):
    theirs, ours = read(folder, plain=False).text, read(folder, plain=True).text
    assert isinstance(ours.model, TextModel)
    assert isinstance(ours.tokenizer, Tokenizer)
    assert torch.equal(ours.embed(TEXTS), theirs.embed(TEXTS))
    one, other = ours.tokenizer, theirs.tokenizer
    assert one.get_vocab() == other.get_vocab()
    assert {*one.all_special_ids} == {*other.all_special_ids}
    assert {*one.all_special_tokens} == {*other.all_special_tokens}
    assert one.unk_token_id == other.unk_token_id
    assert [one.decode([i]) for i in (1, 5)] == [other.decode([i]) for i in (1, 5)]
    assert prompts.is_closed(one)
    assert prompts.vocabulary(one) == prompts.vocabulary(other)
    assert prompts.knows_views(one, EXACT_VIEWS) == prompts.knows_views(other, EXACT_VIEWS)
    assert prompts.unknown_words(one, TEXTS[2]) == prompts.unknown_words(other, TEXTS[2])
    for one, other in zip(ours.encoders, theirs.encoders, strict=True):
        assert one.max_tokens == other.max_tokens
        assert [one.length(text) for text in TEXTS] == [other.length(text) for text in TEXTS]


@pytest.mark.parametrize("text", [TEXTS[0], TEXTS])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": True},
        {"padding": "max_length"},
        {"truncation": True},
        {"padding": "max_length", "truncation": True, "return_tensors": "pt"},
        {"padding": True, "truncation": True, "max_length": 5},
    ],
)
def test_options_of_the_tokenizer(folder, text, options):
    theirs, ours = read(folder, plain=False).text, read(folder, plain=True).text
    one, other = ours.tokenizer(text, **options), theirs.tokenizer(text, **options)
    for key in ("input_ids", "attention_mask"):
        found, expected = getattr(one, key), getattr(other, key)
        if "return_tensors" in options:
            found, expected = found.tolist(), expected.tolist()
        assert found == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_network_is_that_of_diffusers(folder, dtype):
    theirs, ours = read(folder, False, dtype), read(folder, True, dtype)
    assert isinstance(ours.backbone, Transformer)
    assert ours.backbone.dtype == theirs.backbone.dtype == dtype
    assert ours.scaling == theirs.scaling
    text = ours.text.embed(TEXTS)
    side = ours.backbone.config["sample_size"]
    # A transformer crops its table of positions for a smaller image.
    for size in (side, side // 2):
        z = rng.normal((len(TEXTS), 3, size, size), 0, "z")
        sigma = torch.tensor([0.02, 0.5, 3.0, 20.0])
        expected = theirs.network().denoise(z, sigma, text)
        found = ours.network().denoise(z, sigma, text)
        # Sums have another order. The largest values are about 5.
        tolerance = 2e-5 if dtype == torch.float32 else 2e-2
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("words", "repeats"), [([1], 23), ([3, 9], 15), ([23], 1), ([24], 0), ([0, 0], 24)]
)
def test_equal_states_at_the_end_of_all_texts(words, repeats):
    text = torch.ones(len(words), 25, 4)
    for one, n in zip(text, words, strict=True):
        one[:n] += torch.arange(1, n + 1)[:, None]
    if words == [23]:
        # Equal states before the end are no padding.
        text[:, 0] = text[:, 1]
    assert equal_at_end(text) == repeats


def test_padding_counts_as_many_as_there_are():
    """In double precision, where another order of sums is nothing."""
    network = read(builtin.FOLDER, plain=True).backbone.double()
    text = read(builtin.FOLDER, plain=True).text.embed(TEXTS[:1]).double()
    image = rng.normal((1, 3, 64, 64), 0, "image").double()
    found = network(image, text, text[:, -1], torch.zeros(1))[0]
    # Each differs from its neighbors by little, so that no two states are equal.
    apart = text * (1 + 1e-13 * torch.arange(text.shape[1], dtype=torch.double)[:, None])
    assert equal_at_end(text) > 10
    assert equal_at_end(apart) == 0
    torch.testing.assert_close(network(image, apart, text[:, -1], torch.zeros(1))[0], found)


def test_gelu_in_place():
    x = torch.cat([torch.linspace(-30, 30, 200_001), torch.tensor([0.0, 1e30, -1e30, 1e-30])])
    expected = functional.gelu(x.double(), approximate="tanh")
    given = x.clone()
    assert gelu_(given) is given
    assert ((given - expected).abs() <= 2e-7 * expected.abs().clamp(min=1)).all()
    assert gelu_(torch.tensor([math.nan])).isnan()


def test_gradient_is_that_of_diffusers(folder):
    theirs, ours = read(folder, plain=False), read(folder, plain=True)
    text, sigma = ours.text.embed(TEXTS[:1]), torch.tensor([0.5])
    gradients = []
    for parts in (theirs, ours):
        z = rng.normal((1, 3, 64, 64), 0, "z").requires_grad_(True)
        parts.network().differentiable(z, sigma, text).square().sum().backward()
        gradients.append(z.grad)
    torch.testing.assert_close(gradients[1], gradients[0])


def test_layers_have_the_names_of_diffusers(folder):
    theirs, ours = read(folder, plain=False).backbone, read(folder, plain=True).backbone
    shapes = [{n: p.shape for n, p in b.named_parameters()} for b in (theirs, ours)]
    assert shapes[1] == shapes[0]
    assert not any(p.requires_grad for p in ours.parameters())
    # A LoRA draws its first weights in this order.
    assert list(projections(ours)) == list(projections(theirs))
    assert [width for _, width in map(time_module, (ours, theirs))] == 2 * [
        ours.time_text_embed.text_embedder.linear_2.out_features
    ]


def test_an_image_beyond_the_positions_is_refused():
    parts = read(builtin.FOLDER, plain=True)
    text = parts.text.embed(TEXTS[:1])
    with pytest.raises(ValueError, match=r"at most 8² patches, got 9 × 9"):
        parts.network().denoise(torch.zeros(1, 3, 72, 72), torch.ones(1), text)


BPE = json.dumps(
    {
        "version": "1.0",
        "added_tokens": [],
        "model": {
            "type": "BPE",
            "vocab": {"[PAD]": 0, "[UNK]": 1, "a": 2, "red</w>": 3},
            "merges": [],
            "unk_token": "[UNK]",
        },
    }
)


def changed_config(folder, part, file="config.json", **changes):
    path = folder / part / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def changed_weights(folder, change):
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_names_of_transformers_4(tmp_path):
    folder = shutil.copytree(builtin.FOLDER, tmp_path / "model")
    path = folder / "text_encoder" / "model.safetensors"
    save_file({f"text_model.{name}": value for name, value in load_file(path).items()}, path)
    parts = read(folder, plain=True)
    assert isinstance(parts.text.model, TextModel)
    assert torch.equal(parts.text.embed(TEXTS), read(builtin.FOLDER, True).text.embed(TEXTS))


@pytest.mark.parametrize(
    "change",
    [
        lambda f: changed_config(f, "transformer", qk_norm="rms_norm"),
        lambda f: changed_config(f, "transformer", num_layers=1),
        lambda f: changed_config(f, "transformer", num_layers=10**9),
        lambda f: changed_config(f, "transformer", another_setting=1),
        lambda f: changed_config(f, "text_encoder", hidden_act="gelu"),
        lambda f: changed_config(f, "text_encoder", sum_at_padding=False),
        lambda f: changed_config(
            f, "scheduler", "scheduler_config.json", prediction_type="v_prediction"
        ),
        lambda f: changed_weights(f, lambda t: t.pop("proj_out.bias")),
        lambda f: changed_weights(f, lambda t: t["proj_out.bias"].fill_(float("nan"))),
        *(
            lambda f, change=change: changed_config(
                f, "tokenizer", "tokenizer_config.json", **change
            )
            for change in (
                {"model_max_length": "x"},
                {"padding_side": "left"},
                {"truncation_side": "left"},
                {"extra_special_tokens": ["<new>"]},
                {"tokenizer_class": "CLIPTokenizer"},
            )
        ),
        lambda f: (f / "tokenizer" / "added_tokens.json").write_text('{"new": 248}'),
        lambda f: (f / "tokenizer" / "tokenizer.json").write_text(BPE),
        lambda f: (f / "tokenizer" / "tokenizer.json").write_text("{}"),
        lambda f: (f / "text_encoder" / "model.safetensors").write_bytes(b"none"),
    ],
)
def test_what_does_not_fit_is_left_to_the_libraries(change, tmp_path):
    folder = shutil.copytree(builtin.FOLDER, tmp_path / "model")
    change(folder)
    source = components.Source("a model", folder)
    place = CPU, torch.float32
    assert components.read_plain(source, place, place) is None


def test_loras_and_other_autoencoders_are_left_to_the_libraries():
    source = components.Source("a model", builtin.FOLDER)
    place = CPU, torch.float32
    assert components.read_plain(source, place, place) is not None
    assert components.read_plain(replace(source, loras=(None,)), place, place) is None


def test_a_run_imports_neither_library_nor_the_compiler(tmp_path):
    code = """
import sys
import torch
from gs3d.cli.main import main
main(["generate", "a red mushroom", "--steps", "1", "--prior", "builtin", "--device", "cpu",
      "--out", sys.argv[1], "--set", "batch=4", "--set", "gaussians.count=100"])
heavy = {"diffusers", "transformers", "peft", "torch._dynamo"}
# torch 2.7 imports sympy by itself, torch 2.13 does not.
heavy |= {"sympy"} if torch.__version__ >= "2.13" else set()
heavy &= set(sys.modules)
assert not heavy, heavy
"""
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
