"""LoRAs: what is added to the weights, and what gs3d refuses."""

import json
from types import SimpleNamespace

import pytest
import torch

from gs3d.priors import load
from gs3d.priors.files.lora import resolve_lora
from tests.priors.cache import SHA, put_in_cache
from tests.priors.families.tiny import write_tiny_flux
from tests.priors.files.adapters import (
    RANK,
    change,
    layer_of,
    layers_of,
    random_pairs,
    save,
    write_diffusers,
    write_kohya,
)
from tests.priors.files.test_single_file import prediction
from tests.priors.loading.helpers import message

pytest.importorskip("peft")


@pytest.fixture(params=["sd", "xl"])
def folder(request, tiny_sd_folder, tiny_xl_folder):
    return tiny_sd_folder if request.param == "sd" else tiny_xl_folder


@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_fused_weights(folder, layout, tmp_path):
    plain = load(folder, "cpu")
    pairs, file, alpha = random_pairs(layers_of(plain)), tmp_path / "x.safetensors", 1.0
    if layout == "kohya":
        write_kohya(file, pairs, alpha)
    else:
        write_diffusers(file, pairs)
        alpha = RANK
    changed = load(folder, "cpu", lora=(f"{file}:0.7",))
    new = layers_of(changed)
    for key, layer in layers_of(plain).items():
        expected = layer.weight + 0.7 * alpha / RANK * change(pairs[key])
        torch.testing.assert_close(new[key].weight, expected, rtol=0, atol=1e-5)
    by_hand = load(folder, "cpu")
    for key, layer in layers_of(by_hand).items():
        layer.weight += 0.7 * alpha / RANK * change(pairs[key])
    torch.testing.assert_close(prediction(changed), prediction(by_hand), rtol=0, atol=1e-5)
    assert (prediction(changed) - prediction(plain)).abs().max() > 1e-3


def test_weight_0_changes_nothing(folder, tmp_path):
    plain = load(folder, "cpu")
    file = write_kohya(tmp_path / "x.safetensors", random_pairs(layers_of(plain)), 1.0)
    assert torch.equal(prediction(load(folder, "cpu", lora=(f"{file}:0",))), prediction(plain))


def test_fused_model_is_plain(folder, tmp_path):
    """As many modules as before, of the same classes, frozen: the speed is that of the model."""
    plain = load(folder, "cpu")
    file = write_kohya(tmp_path / "x.safetensors", random_pairs(layers_of(plain)), 1.0)
    changed = load(folder, "cpu", lora=(str(file), f"{file}:-1"))
    for one, other in zip(_networks(plain), _networks(changed), strict=True):
        kinds = [[type(m) for m in network.modules()] for network in (one, other)]
        assert kinds[0] == kinds[1]
        assert not any(p.requires_grad for p in other.parameters()) and not other.training
    # The two cancel.
    torch.testing.assert_close(prediction(changed), prediction(plain), rtol=0, atol=1e-5)


def test_half_precision(tiny_sd_folder, tmp_path, card):
    """On a card, a fake one here, without the text encoder: transformers asks a card for its memory
    before it loads a LoRA."""
    plain = load(tiny_sd_folder, "cuda")
    pairs = random_pairs(layers_of(plain, text=()))
    file = write_kohya(tmp_path / "x.safetensors", pairs, 1.0)
    changed = layers_of(load(tiny_sd_folder, "cuda", lora=(f"{file}:0.7",)), text=())
    for key, layer in layers_of(plain, text=()).items():
        assert changed[key].weight.dtype == torch.float16
        expected = layer.weight.float().cpu() + 0.35 * change(pairs[key])
        torch.testing.assert_close(
            changed[key].weight.float().cpu(), expected, rtol=2e-3, atol=2e-3
        )


def added(prior, folder, key) -> torch.Tensor:
    """What was added to the weight of a layer of a prior that was loaded from `folder`."""
    layers = (layers_of(p, *_names(key)) for p in (prior, load(folder, "cpu")))
    new, old = (layer[key].weight for layer in layers)
    return new - old


def test_names_of_the_first_code(tiny_xl_folder, tmp_path):
    """kohya's scripts train XL in the layout of its single files, with one residual block a level
    here."""
    name = "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k"
    ((key, pair),) = random_pairs(layers_of(load(tiny_xl_folder, "cpu"), (name,), ())).items()
    layer = "lora_unet_input_blocks_3_1_transformer_blocks_1_attn2_to_k"
    tensors = {f"{layer}.lora_down.weight": pair[0], f"{layer}.lora_up.weight": pair[1]}
    tensors[f"{layer}.alpha"] = torch.tensor(1.0)
    file = save(tmp_path / "x.safetensors", tensors)
    prior = load(tiny_xl_folder, "cpu", lora=(str(file),))
    torch.testing.assert_close(
        added(prior, tiny_xl_folder, key), change(pair) / RANK, rtol=0, atol=1e-5
    )


def test_convolution(tiny_sd_folder, tmp_path):
    name = "down_blocks.0.resnets.0.conv1"
    pairs = random_pairs(layers_of(load(tiny_sd_folder, "cpu"), (name,), ()))
    ((key, pair),) = pairs.items()
    assert pair[0].shape[2:] == (3, 3)
    file = write_kohya(tmp_path / "x.safetensors", pairs, 1.0)
    prior = load(tiny_sd_folder, "cpu", lora=(str(file),))
    torch.testing.assert_close(
        added(prior, tiny_sd_folder, key), change(pair) / RANK, rtol=0, atol=1e-5
    )


def test_names_of_older_files(tiny_sd_folder, tmp_path):
    """diffusers once wrote the layers of the U-Net alone, without its name."""
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    ((key, pair),) = random_pairs(layers_of(load(tiny_sd_folder, "cpu"), (name,), ())).items()
    old = name.replace("attn2.to_k", "attn2.processor.to_k_lora")
    tensors = {f"{old}.down.weight": pair[0], f"{old}.up.weight": pair[1]}
    file = save(tmp_path / "x.safetensors", tensors)
    prior = load(tiny_sd_folder, "cpu", lora=(str(file),))
    torch.testing.assert_close(added(prior, tiny_sd_folder, key), change(pair), rtol=0, atol=1e-5)


def test_alpha_in_the_header(tiny_sd_folder, tmp_path):
    """The trainers of diffusers write it there."""
    from peft import LoraConfig

    name = "mid_block.attentions.0.proj_in"
    ((key, pair),) = random_pairs(layers_of(load(tiny_sd_folder, "cpu"), (name,), ())).items()
    config = LoraConfig(r=RANK, lora_alpha=3 * RANK, target_modules=["proj_in"]).to_dict()
    header = {
        f"unet.{k}": list(v) if isinstance(v, set) else v
        for k, v in config.items()
        if v is None or isinstance(v, (str, int, float, bool, set, dict, list))
    }
    tensors = {f"unet.{name}.lora_A.weight": pair[0], f"unet.{name}.lora_B.weight": pair[1]}
    file = save(tmp_path / "x.safetensors", tensors, lora_adapter_metadata=json.dumps(header))
    prior = load(tiny_sd_folder, "cpu", lora=(str(file),))
    torch.testing.assert_close(
        added(prior, tiny_sd_folder, key), 3 * change(pair), rtol=0, atol=1e-5
    )


def _names(key: tuple[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The arguments of `layers_of` for one layer."""
    return ((key[1],), ()) if key[0] in ("unet", "transformer") else ((), (key[1],))


def test_sd3(tiny_sd3_folder, tmp_path):
    name = "transformer_blocks.0.attn.to_k"
    _check_transformer(tiny_sd3_folder, name, tmp_path)


def test_flux(tmp_path):
    folder = write_tiny_flux(tmp_path / "model")
    _check_transformer(folder, "transformer_blocks.0.attn.to_k", tmp_path)


def _check_transformer(folder, name: str, tmp_path) -> None:
    """A file of diffusers' trainers for the transformer and its first CLIP."""
    plain = load(folder, "cpu")
    layers = {("transformer", name): plain.network.backbone.get_submodule(name)}
    text = "encoder.layers.0.self_attn.q_proj"
    layers["text_encoder", text] = layer_of(plain.text.encoders[0].model, text)
    pairs = random_pairs(layers)
    tensors = {}
    for (part, layer), (down, up) in pairs.items():
        full = f"{part}.{'text_model.' if part == 'text_encoder' else ''}{layer}"
        tensors |= {f"{full}.lora_A.weight": down, f"{full}.lora_B.weight": up}
    file = save(tmp_path / "x.safetensors", tensors)
    changed = load(folder, "cpu", lora=(f"{file}:0.5",))
    new = {
        ("transformer", name): changed.network.backbone.get_submodule(name),
        ("text_encoder", text): layer_of(changed.text.encoders[0].model, text),
    }
    for key, layer in layers.items():
        expected = layer.weight + 0.5 * change(pairs[key])
        torch.testing.assert_close(new[key].weight, expected, rtol=0, atol=1e-5)


def test_hub(hub_cache, tiny_sd_folder, tmp_path, monkeypatch, capsys):
    """Downloaded once, without what else is in the repository."""
    import huggingface_hub

    pairs = random_pairs(layers_of(load(tiny_sd_folder, "cpu")))
    name = "pytorch_lora_weights.safetensors"
    (model := tmp_path / "repo").mkdir()
    write_diffusers(model / name, pairs)
    (model / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    files = [name, "README.md", "checkpoint/model.safetensors", "other.safetensors"]
    asked = []

    def model_info(repo, **options):
        sizes = [SimpleNamespace(rfilename=f, size=9_000_000) for f in files]
        return SimpleNamespace(siblings=sizes)

    def snapshot_download(repo, allow_patterns, **options):
        asked.append((repo, allow_patterns))
        return str(put_in_cache(hub_cache, repo, model))

    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repo, file, **_: model / file)
    lora = resolve_lora("owner/style:0.5")
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("downloading owner/style, 9 MB, once, to ")
    assert said[1].startswith("license of owner/style: cc-by-nc-4.0, which allows no commercial")
    assert asked == [("owner/style", [name, "README.md"])]
    assert (lora.repo, lora.weight, lora.facts["revision"]) == ("owner/style", 0.5, SHA)
    assert resolve_lora("owner/style:0.5", offline=True) == lora and len(asked) == 1
    line = message(lambda: resolve_lora("owner/other", offline=True))
    assert line.startswith("lora owner/other: not in the cache (")
    files.remove(name)
    files.append("third.safetensors")
    line = message(lambda: resolve_lora("owner/two"))
    assert "expected one .safetensors file in it, found 2 of them" in line


def _networks(prior):
    return [prior.network.backbone, *(encoder.model for encoder in prior.text.encoders)]
