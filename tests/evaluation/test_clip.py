"""R-precision with a CLIP model of random weights, and by hand."""

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


def test_precision_counts_the_views_whose_nearest_text_is_the_right_one():
    similarity = torch.tensor([[0.3, 0.2, 0.1], [0.1, 0.2, 0.0], [0.5, 0.4, 0.3], [0.0, 0.1, 0.2]])
    marks = metrics_of(similarity, 0)
    assert marks.r_precision == 0.5 and marks.similarity == pytest.approx(0.225)
    assert metrics_of(similarity[:, :1], 0).r_precision is None  # there was nothing to choose from


def test_texts_and_pictures_become_unit_vectors_as_transformers_makes_them(clip, tiny_clip_folder):
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
    picture = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    ours = clip.pictures(picture)
    image = Image.fromarray((picture[0] * 255 + 0.5).to(torch.uint8).numpy())
    pixels = CLIPImageProcessor.from_pretrained(tiny_clip_folder)(
        image, return_tensors="pt"
    ).pixel_values
    with torch.no_grad():
        whole = clip.model(
            input_ids=clip.tokenizer(prompts[:1], return_tensors="pt").input_ids,
            pixel_values=pixels,
        )
    torch.testing.assert_close(
        ours, whole.image_embeds, atol=0.02, rtol=0
    )  # theirs went through bytes
    torch.testing.assert_close(texts[:1], whole.text_embeds)


def test_all_views_of_splats_are_marked(clip, monkeypatch):
    splats = reference_splats(sample(np.random.default_rng(0), "mug", "red").parts, size_px=24)
    seen, pictures = [], Clip.pictures
    monkeypatch.setattr(
        Clip, "pictures", lambda self, images: seen.append(images) or pictures(self, images)
    )
    texts = clip.texts(["a red mug", "a car", "a view"])
    marks = clip_metrics(splats, clip, texts, 0)
    views = torch.cat(seen)
    assert (
        views.shape == (VIEWS, 32, 32, 3) and (views[0] - views[60]).abs().mean() > 0.01
    )  # the mug's handle is on one side
    similarity = pictures(clip, views) @ texts.T
    assert marks.r_precision == pytest.approx(
        (similarity.argmax(1) == 0).float().mean().item(), abs=1e-6
    )


def test_a_folder_without_all_weights_is_refused(tiny_clip_folder, tmp_path):
    """transformers itself would go on with random numbers in their place."""
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


def test_what_is_no_clip_model_is_one_line(tmp_path, tiny_sd_folder):
    for folder in (tmp_path, tiny_sd_folder):
        with pytest.raises(UserError, match="no CLIP model that can be read") as error:
            Clip.load(str(folder), "cpu")
        assert "\n" not in str(error.value)


def test_the_worlds_own_clip_finds_objects_among_all_that_the_world_has():
    prompts = ("a red mushroom", "a blue car", "a yellow duck", "a green house")
    graders = Graders.of(prompts, BUILTIN)
    assert graders.prompts[:4] == prompts and 250 < len(graders.prompts) == len(
        set(graders.prompts)
    ) == len(graders.texts)
    found = []
    for i, prompt in enumerate(prompts):
        thing = parse_prompt(prompt).thing
        splats = reference_splats(
            sample(np.random.default_rng(7), thing.kind, thing.color, plain=True).parts
        )
        found.append(clip_metrics(splats, graders.clip, graders.texts, i).r_precision)
    assert np.mean(found) > 0.9


def test_what_an_object_may_be_called_with_as_much_right_is_no_wrong_answer():
    others = plain_others(
        ["a DSLR photo of a shiny red car", "a red ball on a green table", "an astronaut"]
    )
    assert "a blue car" in others and not {"a red car", "a red ball", "a green table"} & set(others)
