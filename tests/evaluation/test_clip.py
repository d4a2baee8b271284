"""CLIP metrics: by hand, with a tiny random CLIP model, and with the shipped model."""

import numpy as np
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.evaluation.clip import BUILTIN, VIEWS, Clip, clip_metrics, metrics_of
from gs3d.evaluation.prompts import plain_others
from gs3d.evaluation.reference import reference_splats
from gs3d.evaluation.results import Graders
from gs3d.world.prompt_parser import parse_prompt
from gs3d.world.sample import sample


@pytest.fixture(scope="module")
def clip(tiny_clip_folder):
    return Clip.load(str(tiny_clip_folder), "cpu")


def test_r_precision_is_the_share_of_views_nearest_to_their_own_text():
    similarity = torch.tensor([[0.3, 0.2, 0.1], [0.1, 0.2, 0.0], [0.5, 0.4, 0.3], [0.0, 0.1, 0.2]])
    metrics = metrics_of(similarity, 0)
    assert metrics.r_precision == 0.5 and metrics.similarity == pytest.approx(0.225)
    assert metrics_of(similarity[:, :1], 0).r_precision is None  # only one text to choose from


def test_embeddings_equal_those_of_transformers(clip, tiny_clip_folder):
    from PIL import Image
    from transformers import CLIPImageProcessor

    prompts = [
        "a red view",
        "car",
        "a very long prompt that does not fit into sixteen tokens at all, and is cut off",
    ]
    texts = clip.texts(prompts)
    assert texts.shape == (3, 12)
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(3))
    images = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    ours = clip.pictures(images)
    image = Image.fromarray((images[0] * 255 + 0.5).to(torch.uint8).numpy())
    pixels = CLIPImageProcessor.from_pretrained(tiny_clip_folder)(
        image, return_tensors="pt"
    ).pixel_values
    with torch.no_grad():
        theirs = clip.model(
            input_ids=clip.tokenizer(prompts[:1], return_tensors="pt").input_ids,
            pixel_values=pixels,
        )
    # Their image was rounded to 8 bits.
    torch.testing.assert_close(ours, theirs.image_embeds, atol=0.02, rtol=0)
    torch.testing.assert_close(texts[:1], theirs.text_embeds)


def test_clip_metrics_use_all_views(clip, monkeypatch):
    splats = reference_splats(sample(np.random.default_rng(0), "mug", "red").parts, size_px=24)
    seen, embed = [], Clip.pictures
    monkeypatch.setattr(
        Clip, "pictures", lambda self, images: seen.append(images) or embed(self, images)
    )
    texts = clip.texts(["a red mug", "a car", "a view"])
    metrics = clip_metrics(splats, clip, texts, 0)
    views = torch.cat(seen)
    assert views.shape == (VIEWS, 32, 32, 3)
    assert (views[0] - views[60]).abs().mean() > 0.01  # the mug's handle is on one side
    similarity = embed(clip, views) @ texts.T
    assert metrics.r_precision == pytest.approx(
        (similarity.argmax(1) == 0).float().mean().item(), abs=1e-6
    )


def test_incomplete_weights_raise_user_error(tiny_clip_folder, tmp_path):
    """Without this check transformers would fill missing weights with random numbers."""
    import shutil

    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_clip_folder, tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "visual_projection" not in k},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(UserError, match="of its weights are missing"):
        Clip.load(str(folder), "cpu")


def test_folder_without_clip_model_raises_one_line_error(tmp_path, tiny_sd_folder):
    for folder in (tmp_path, tiny_sd_folder):
        with pytest.raises(UserError, match="no CLIP model that can be read") as error:
            Clip.load(str(folder), "cpu")
        assert "\n" not in str(error.value)


def test_shipped_clip_identifies_objects_among_all_kinds_and_colors():
    prompts = ("a red mushroom", "a blue car", "a yellow duck", "a green house")
    graders = Graders.of(prompts, BUILTIN)
    assert graders.prompts[:4] == prompts and 250 < len(graders.prompts) == len(
        set(graders.prompts)
    ) == len(graders.texts)
    r_precisions = []
    for i, prompt in enumerate(prompts):
        thing = parse_prompt(prompt).thing
        splats = reference_splats(
            sample(np.random.default_rng(7), thing.kind, thing.color, plain=True).parts
        )
        r_precisions.append(clip_metrics(splats, graders.clip, graders.texts, i).r_precision)
    assert np.mean(r_precisions) > 0.9


def test_wrong_answers_exclude_descriptions_that_fit_a_prompt():
    others = plain_others(
        ["a DSLR photo of a shiny red car", "a red ball on a green table", "an astronaut"]
    )
    assert "a blue car" in others and not {"a red car", "a red ball", "a green table"} & set(others)
