"""--start shap-e: Shap-E makes a mesh from the prompt, whose splats are refined."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

import gs3d
from gs3d.cli.main import main
from gs3d.core.errors import UserError
from gs3d.priors.loading.components import Source
from gs3d.runs.history import read_record
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from gs3d.runs.starts import shap_e, shap_e_model, shap_e_weights
from tests.priors.conftest import hub_cache
from tests.runs.running import equal, generate, log_rows
from tests.runs.shap_e import CENTER, COLOR, REACH, write_tiny_shap_e

__all__ = ["hub_cache"]
WEIGHTS = "diffusion_pytorch_model.fp16.safetensors"
FILES = [
    "README.md",
    "model_index.json",
    "prior/config.json",
    "prior/diffusion_pytorch_model.bin",
    "prior/diffusion_pytorch_model.fp16.safetensors",
    "renderer/config.json",
    "renderer/diffusion_pytorch_model.fp16.safetensors",
    "scheduler/scheduler_config.json",
    "shap_e_renderer/config.json",
    "shap_e_renderer/diffusion_pytorch_model.bin",
    "shap_e_renderer/diffusion_pytorch_model.fp16.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/pytorch_model.bin",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
]
"""Files of the commit `shap_e_weights.REVISION` of openai/shap-e."""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(shap_e_model, "STEPS", 2)
    monkeypatch.setattr(shap_e_model, "GRID", 32)


@pytest.fixture(scope="module")
def tiny_shap_e_folder(tmp_path_factory):
    return write_tiny_shap_e(tmp_path_factory.mktemp("tiny_shap_e") / "model")


@pytest.fixture
def cached(hub_cache, tiny_shap_e_folder):
    """The model in the cache, as a download leaves it; its folder."""
    return put_in_cache(hub_cache, tiny_shap_e_folder)


def put_in_cache(cache: Path, model: Path, revision: str = shap_e_weights.REVISION) -> Path:
    folder = cache / "models--openai--shap-e" / "snapshots" / revision
    shutil.copytree(model, folder)
    return folder


@pytest.fixture
def request_from_shap_e(splats_request):
    changes = {"prompt": "a red car", "steps": 2, "set": ("densify.rounds=1",)}
    return dataclasses.replace(splats_request, start=Path("shap-e"), **changes)


def mesh_of(folder: Path, prompt: str = "a red car", seed: int = 0, device: str = "cpu"):
    source = Source("shap-e", folder, shap_e_weights.REPO)
    return shap_e_model.mesh_of(source, prompt, seed, device)


def refused(request: Request) -> str:
    """The one line of the error of a run."""
    with pytest.raises(UserError) as caught:
        generate(request)
    line = caught.value.for_command_line
    assert line.startswith("--start shap-e: ") and "\n" not in line
    assert not (request.out / "start" / "splats.ply").exists()
    return line


def edit_weights(folder: Path, part: str, name: str, value: float) -> None:
    path = folder / part / WEIGHTS
    weights = load_file(path)
    weights[name] = torch.full_like(weights[name], value, dtype=torch.float32)
    save_file(weights, path, {"format": "pt"})


def test_mesh_has_the_front_at_x_and_the_colors_of_the_network(tiny_shap_e_folder):
    mesh = mesh_of(tiny_shap_e_folder)
    x, y, z = CENTER
    middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    assert np.allclose(middle, (-y, x, z), atol=0.05)
    assert np.allclose(np.ptp(mesh.vertices, axis=0), 2 * REACH, atol=0.15)
    assert np.allclose(mesh.colors, COLOR, atol=0.01)
    outwards = (mesh.normals * (mesh.vertices - middle)).sum(axis=1)
    assert (outwards > 0).mean() > 0.95


def test_mesh_depends_on_prompt_and_seed(tiny_shap_e_folder):
    first, again = mesh_of(tiny_shap_e_folder), mesh_of(tiny_shap_e_folder)
    assert np.array_equal(first.vertices, again.vertices)
    for other in (
        mesh_of(tiny_shap_e_folder, seed=1),
        mesh_of(tiny_shap_e_folder, "a blue view"),
    ):
        same = first.vertices.shape == other.vertices.shape
        assert not same or not np.array_equal(first.vertices, other.vertices)


def test_run_starts_from_the_splats_of_the_mesh(request_from_shap_e, cached):
    lines = []
    result = generate(request_from_shap_e, say=lines.append)
    assert "starting from 'a red car' as Shap-E makes it" in lines
    assert "warning: --start shap-e: takes 5 to 40 minutes on a CPU" in lines
    before = gs3d.load(result.folder / "start" / "splats.ply").splats
    assert len(before) == 8000
    assert np.allclose(before.means.norm(dim=1).max(), 1.0, atol=0.1)
    assert 0 < float((result.splats.means - before.means).norm(dim=1).median()) < 0.05
    made = json.loads((result.folder / "start" / "shap-e.json").read_text())
    assert (made["prompt"], made["revision"]) == ("a red car", shap_e_weights.REVISION)
    record = read_record(result.folder)
    assert record["start"] == "shap-e" and "shap-e start" in record["timings_s"]
    assert log_rows(result.folder)[0]["progress"] == 0.5


def test_resumed_run_needs_no_second_mesh(request_from_shap_e, cached, monkeypatch):
    once = generate(request_from_shap_e)
    shutil.rmtree(cached)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    resumed = dataclasses.replace(request_from_shap_e, resume=True, start=None)
    assert generate(dataclasses.replace(resumed, steps=3)).steps == 3
    # Stopped before its first checkpoint.
    shutil.rmtree(once.folder / "checkpoint")
    (once.folder / "splats.ply").unlink()
    again = generate(dataclasses.replace(request_from_shap_e, resume=True))
    assert equal(again.splats, once.splats)


def test_splats_of_another_prompt_are_not_used(request_from_shap_e, cached):
    generate(request_from_shap_e)
    other = dataclasses.replace(request_from_shap_e, prompt="a blue car")
    assert shap_e.saved_splats(request_from_shap_e, request_from_shap_e.out) is not None
    assert shap_e.saved_splats(other, request_from_shap_e.out) is None


def test_words_that_are_not_read_are_named(request_from_shap_e, cached):
    lines = []
    prompt = "a red car " * 9 + "blue dog"
    generate(dataclasses.replace(request_from_shap_e, prompt=prompt), say=lines.append)
    (line,) = [line for line in lines if "too long for Shap-E" in line]
    assert line.startswith("warning: ") and line.endswith('blue dog"')


def test_missing_part(request_from_shap_e, cached):
    (cached / "prior" / WEIGHTS).unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert "the copy in the cache lacks its prior" in refused(request_from_shap_e)


def test_damaged_part(request_from_shap_e, cached):
    (cached / "shap_e_renderer" / "config.json").write_text("{")
    assert "its shap_e_renderer: config.json cannot be read" in refused(request_from_shap_e)


def test_renderer_without_marching_cubes(request_from_shap_e, cached):
    """As the older folder `renderer` of openai/shap-e has it: its tables would be zeros."""
    path = cached / "shap_e_renderer" / WEIGHTS
    weights = {k: v for k, v in load_file(path).items() if not k.startswith("mesh_decoder")}
    save_file(weights, path, {"format": "pt"})
    assert "its shap_e_renderer lacks 2 weights" in refused(request_from_shap_e)


def test_nan_in_the_weights(request_from_shap_e, cached):
    edit_weights(cached, "prior", "positional_embedding", float("nan"))
    assert "its prior has NaN or infinite weights" in refused(request_from_shap_e)


def test_nan_in_what_it_makes(request_from_shap_e, cached):
    edit_weights(cached, "prior", "proj_to_clip_embeddings.weight", 3e38)
    assert "Shap-E made numbers that are not finite; try another" in refused(request_from_shap_e)


def test_empty_mesh(request_from_shap_e, hub_cache, tmp_path):
    put_in_cache(hub_cache, write_tiny_shap_e(tmp_path / "empty", reach=-1.0))
    assert "an empty mesh of this prompt; try another --seed" in refused(request_from_shap_e)


def test_out_of_memory(request_from_shap_e, cached, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(shap_e_model, "load_pipeline", full)
    assert "out of memory; use --device cpu" in refused(request_from_shap_e)


def test_offline_is_one_line_and_exit_code_2(hub_cache, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    out = tmp_path / "out"
    given = ["generate", "a red car", "--start", "shap-e", "--steps", "2", "--out", str(out)]
    # `builtin` is the prior of a machine without a GPU.
    assert main(given) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"gs3d: --start shap-e: not in the cache ({hub_cache}), and HF_HUB_OFFLINE is set; "
        "leave --start out, or start from a file"
    )
    assert not out.exists()


def test_download(request_from_shap_e, hub_cache, tiny_shap_e_folder, monkeypatch, capsys):
    asked = {}

    def model_info(repo, timeout, files_metadata, revision):
        found = [SimpleNamespace(rfilename=f, size=200_000_000) for f in FILES]
        return SimpleNamespace(siblings=found)

    def snapshot_download(repo, revision, allow_patterns, etag_timeout):
        asked.update(repo=repo, revision=revision, files=allow_patterns)
        return str(put_in_cache(hub_cache, tiny_shap_e_folder))

    def small(repo, file, etag_timeout, revision):
        return str(tiny_shap_e_folder / file)

    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", small)
    plan = prepare(request_from_shap_e)
    assert plan.shap_e.folder.name == asked["revision"] == shap_e_weights.REVISION
    without = {f for f in FILES if f.startswith("renderer/") or f.endswith(".bin")}
    assert set(asked["files"]) == set(FILES) - without
    first, second, third = capsys.readouterr().err.splitlines()
    assert (
        first
        == "--start shap-e: the splats to start from are a mesh that Shap-E makes from "
        + ("the prompt")
    )
    size = 0.2 * len(asked["files"])
    assert second.startswith(f"downloading openai/shap-e, {size:.1f} GB, once, to {hub_cache}; ")
    assert third == "license of openai/shap-e: mit; see https://huggingface.co/openai/shap-e"


def test_time_of_a_download_does_not_count(request_from_shap_e, cached, monkeypatch):
    slow = Source("shap-e", cached, shap_e_weights.REPO, download_s=700.0)
    monkeypatch.setattr(shap_e, "find", lambda: slow)
    assert prepare(request_from_shap_e, started=100.0).started == 800.0


def test_copy_with_pickles_alone_is_not_used(request_from_shap_e, cached, hub_cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    main_branch = put_in_cache(hub_cache, cached, revision="f" * 40)
    path = main_branch / "shap_e_renderer" / WEIGHTS
    path.rename(path.with_name("diffusion_pytorch_model.bin"))
    assert shap_e.find().folder == cached
    shutil.rmtree(cached)
    assert "lacks its shap_e_renderer" in refused(request_from_shap_e)


def test_field_cannot_start_from_it(request_from_shap_e):
    changes = {"mode": "two-stage", "config": None, "set": ()}
    with pytest.raises(UserError, match="a nerf cannot start from what is there"):
        prepare(dataclasses.replace(request_from_shap_e, **changes))


def test_on_a_card_it_is_about_the_same_mesh(card, tiny_shap_e_folder):
    there = mesh_of(tiny_shap_e_folder, device="cuda:0")
    here = mesh_of(tiny_shap_e_folder)
    assert card.landed > 100
    # The denoiser computes in float16 there.
    assert abs(len(there.vertices) - len(here.vertices)) < 0.1 * len(here.vertices)
    middles = [(m.vertices.min(axis=0) + m.vertices.max(axis=0)) / 2 for m in (there, here)]
    assert np.allclose(*middles, atol=0.05)


def test_resume_without_the_option_takes_the_start_that_is_there(request_from_shap_e, cached):
    made = shap_e.shap_e_splats(
        Source("shap-e", cached, shap_e_weights.REPO),
        request_from_shap_e,
        request_from_shap_e.out,
        "cpu",
        gs3d.Callbacks(),
    )
    # The run was stopped while its prior was loaded.
    again = dataclasses.replace(request_from_shap_e, resume=True, start=None)
    plan = prepare(again)
    assert equal(plan.splats, made) and plan.request.start == Path("shap-e")
    assert "it goes on as with --start shap-e; leave --resume out" in plan.messages[0].text
