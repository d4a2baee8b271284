"""Training of the built-in prior: batches, learning rates, resuming, and checks of the dataset."""

import dataclasses
import json
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gs3d.core.schedules import Steps
from gs3d.core.views.words import INSIDE_VIEWS
from gs3d.pretraining import prior as training
from gs3d.pretraining.captioned import Captioned
from gs3d.pretraining.resume import batch_indices
from gs3d.priors import builtin, load
from gs3d.priors.prompts import knows_views
from gs3d.world import dataset as world_dataset
from gs3d.world.captions import NORMALS_PREFIX, PREFIXES, vocabulary_texts, with_view
from gs3d.world.dataset import Dataset
from gs3d.world.places import dataset as place_dataset
from gs3d.world.places.meaning import MAX_TOKENS
from gs3d.world.places.parser import parse_place


@pytest.fixture(scope="module")
def dataset_folder(tmp_path_factory):
    """Directory of a dataset of 64 images, some of them normal maps."""
    folder = tmp_path_factory.mktemp("dataset")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world_dataset, "SHARD", 64)
        world_dataset.write_shard(folder, 1, 0, normals=0.3)
    return folder


new_backbone = builtin.new_backbone


@pytest.fixture(scope="module", autouse=True)
def small_network():
    """Trainings are of a network with fewer weights than the built-in prior's."""
    with pytest.MonkeyPatch.context() as patch:
        small = partial(new_backbone, layers=2, heads=2, head_width=24)
        patch.setattr(builtin, "new_backbone", small)
        yield


@pytest.fixture(scope="module")
def config(dataset_folder, tmp_path_factory):
    """Settings of a training of three steps."""
    out = tmp_path_factory.mktemp("fit")
    return training.FitConfig(
        dataset_folder,
        out,
        images=24,
        batch=8,
        warmup_images=8,
        cooldown_images=8,
        log_every=1,
        device="cpu",
    )


def test_batches_visit_every_sample_once_per_epoch_in_a_new_order():
    epoch = np.concatenate([batch_indices(32, 8, 0, seen) for seen in range(0, 32, 8)])
    assert sorted(epoch) == list(range(32))
    assert not np.array_equal(batch_indices(32, 8, 0, 0), batch_indices(32, 8, 0, 32))


def test_epoch_has_rarer_kinds_once_and_others_twice(dataset_folder):
    dataset = Dataset.open(dataset_folder)
    assert np.array_equal(training.epoch_of(dataset, ()), np.arange(len(dataset)))
    rare = dataset.labels[0]["kind"]
    counts = np.bincount(training.epoch_of(dataset, (rare,)), minlength=len(dataset))
    assert counts.tolist() == [1 if label["kind"] == rare else 2 for label in dataset.labels]
    with pytest.raises(ValueError, match="rarer: expected kinds of the world .* got 'unicorn'"):
        training.FitConfig(dataset_folder, dataset_folder, rarer=("unicorn",))


LOWER_CASE_PREFIXES = [p.lower() for p in PREFIXES]


def possible_captions(row):
    """A caption without a view, with the rough direction, and with the exact view."""
    return [
        row["caption"],
        with_view(row["caption"], row["view"]),
        with_view(row["caption"], row["exact_view"]),
    ]


def test_tokens_are_those_of_the_captions(dataset_folder):
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    dataset = Dataset.open(dataset_folder)
    data = Captioned.open(dataset, tokenizer, "cpu")
    images, tokens, _ = data.batch(np.arange(64), 0.2, 0, 0)
    texts = [tokenizer.decode(t, skip_special_tokens=True) for t in tokens]
    assert images.shape == (64, 64, 64, 3) and images.min() >= 0 and images.max() <= 1
    empty = [t in ("", NORMALS_PREFIX) for t in texts]
    assert 3 <= sum(empty) <= 28
    for text, row in zip(texts, dataset.labels, strict=True):
        # A normal map keeps its prefix even without a caption.
        assert (text == "") <= (not row["normals"])
        if text not in ("", NORMALS_PREFIX):
            assert row["caption"] in text
            prefixes = [NORMALS_PREFIX] if row["normals"] else ["", *LOWER_CASE_PREFIXES]
            possible = tokenizer(
                [f"{prefix} {caption}" for prefix in prefixes for caption in possible_captions(row)]
            ).input_ids
            assert text in tokenizer.batch_decode(possible, skip_special_tokens=True)
    assert any("photo" in t for t in texts) and any("view" not in t for t in texts if t)
    assert any("45left" in t for t in texts) and any("side view" in t for t in texts)
    assert torch.equal(
        tokens, tokenizer(texts, padding="max_length", return_tensors="pt").input_ids
    )


def test_training_resumes_exactly_and_writes_a_loadable_prior(config, tmp_path):
    assert training.fit(config) == 24
    interrupted = dataclasses.replace(config, out=tmp_path, stop_after_s=0.0)
    assert [training.fit(interrupted) for _ in range(3)] == [8, 16, 24]
    one, other = (load(folder / "model", "cpu") for folder in (config.out, tmp_path))
    for a, b in zip(
        one.network.backbone.parameters(), other.network.backbone.parameters(), strict=True
    ):
        assert torch.equal(a, b)
    one, other = (load_file(folder / "checkpoint.safetensors") for folder in (config.out, tmp_path))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    assert {key.split(".")[0] for key in one} == {"model", "ema", "optimizer"}
    rows = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    assert [r["images"] for r in rows if "loss" in r] == [8, 16, 24] and "ema_loss" in rows[-1]


@pytest.mark.gpu
def test_training_on_cuda_resumes_and_starts_from_a_model(config, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    first = dataclasses.replace(config, out=tmp_path / "first", device="cuda", half=True)
    assert training.fit(dataclasses.replace(first, images=16)) == 16
    assert training.fit(first) == 24
    second = dataclasses.replace(
        first,
        out=tmp_path / "second",
        start=tmp_path / "first" / "model",
        stop_after_s=60.0,
        cooldown_s=60.0,
    )
    assert training.fit(second) == 24
    prior = load(tmp_path / "second" / "model", "cuda")
    assert all(torch.isfinite(w).all() for w in prior.network.backbone.state_dict().values())


def test_dataset_without_labels_for_normal_maps_raises(dataset_folder):
    dataset = Dataset.open(dataset_folder)
    old = Dataset(
        dataset.images, [{k: v for k, v in row.items() if k != "normals"} for row in dataset.labels]
    )
    with pytest.raises(ValueError, match="render it again with scripts/render_world.py"):
        Captioned.open(old, builtin.new_tokenizer(vocabulary_texts()), "cpu")


def test_learning_rate_warms_up_decays_and_cools_down(config):
    c = dataclasses.replace(
        config, images=1000, warmup_images=100, decay_images=400, cooldown_images=200
    )
    assert training.pace(c, 50) == pytest.approx(0.5)
    assert training.pace(c, 300) == 1
    assert training.pace(c, 800) == pytest.approx(0.5**0.5)
    assert training.pace(c, 1000) == 0


def test_image_size_must_match_the_dataset(config, tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match="contains images of 64 pixels, not 32; render it with --size-px 32"
    ):
        training.fit(dataclasses.replace(config, out=tmp_path / "wrong", size_px=32))
    monkeypatch.setattr(world_dataset, "SHARD", 16)
    cameras = dataclasses.replace(world_dataset.CAMERAS, resolution_px=Steps((0.0,), (32,)))
    world_dataset.write_shard(tmp_path / "dataset", 1, 0, cameras)
    small = dataclasses.replace(
        config, dataset=tmp_path / "dataset", out=tmp_path / "fit", images=8, size_px=32
    )
    assert training.fit(small) == 8
    assert load(tmp_path / "fit" / "model", "cpu").image_size == 32


def test_learning_rate_also_falls_with_the_remaining_time(config):
    settings = {"images": 10**6, "warmup_images": 100, "decay_images": 10**6, "cooldown_images": 1}
    c = dataclasses.replace(config, stop_after_s=60.0, cooldown_s=20.0, **settings)
    with pytest.raises(
        ValueError, match="cooldown_s: expected 0, or at most a finite stop_after_s, got 20"
    ):
        dataclasses.replace(config, cooldown_s=20.0)
    rates = [training.pace(c, 500, elapsed_s=s) for s in (0.0, 40.0, 50.0, 60.0, 61.0)]
    assert rates == pytest.approx([1, 1, 0.5, 0, 0])


def test_weights_are_small_enough_for_the_package():
    encoder = builtin.new_text_encoder(builtin.new_tokenizer(vocabulary_texts()))
    numbers = sum(p.numel() for part in (new_backbone(), encoder) for p in part.parameters())
    assert 2 * numbers <= 16e6  # in half precision


def test_prior_of_four_views_trains_on_groups_of_views_of_one_object(tmp_path, config, monkeypatch):
    monkeypatch.setattr(world_dataset, "SHARD", 32)
    world_dataset.write_shard(tmp_path / "dataset", 1, 0, normals=0.3, together=4)
    labels = Dataset.open(tmp_path / "dataset").labels
    assert all(
        len({(row["caption"], row["normals"]) for row in labels[at : at + 4]}) == 1
        for at in range(0, 32, 4)
    )
    assert len({row["exact_view"] for row in labels[:4]}) == 4
    four = dataclasses.replace(
        config, dataset=tmp_path / "dataset", out=tmp_path / "four", views=4, images=16
    )
    assert training.fit(four) == 16
    interrupted = dataclasses.replace(four, out=tmp_path / "interrupted", stop_after_s=0.0)
    assert [training.fit(interrupted) for _ in range(2)] == [8, 16]
    one, other = (
        load_file(folder / "checkpoint.safetensors") for folder in (four.out, interrupted.out)
    )
    assert all(torch.equal(one[key], other[key]) for key in one)
    prior = load(four.out / "model", "cpu")
    assert prior.views == 4 and prior.latent_shape == (3, 64, 64)
    with pytest.raises(ValueError, match="render it with --together 4"):
        training.fit(dataclasses.replace(four, dataset=config.dataset, out=tmp_path / "singles"))
    with pytest.raises(ValueError, match="another number of views, not 1; choose another --out"):
        training.fit(dataclasses.replace(four, views=1))
    with pytest.raises(ValueError, match="batch: expected a multiple of 4, got 6"):
        dataclasses.replace(four, batch=6)


def test_prior_of_places_begins_from_one_of_objects(tmp_path, config, monkeypatch):
    for module in (world_dataset, place_dataset):
        monkeypatch.setattr(module, "SHARD", 16)
    place_dataset.write_place_shard(tmp_path / "dataset", 1, 0)
    dataset = Dataset.open(tmp_path / "dataset")
    assert dataset.rgba(np.arange(16))[..., 3].min() == 1
    for row in dataset.labels:
        assert parse_place(row["caption"]) and row["exact_view"] in INSIDE_VIEWS
    assert len({row["caption"] for row in dataset.labels}) == 16 // place_dataset.VIEWS
    training.fit(config)
    places = dataclasses.replace(
        config,
        dataset=tmp_path / "dataset",
        out=tmp_path / "places",
        world="places",
        start=config.out / "model",
        images=8,
    )
    assert training.fit(places) == 8
    before, after = (load(folder / "model", "cpu") for folder in (config.out, places.out))
    assert not knows_views(before.text.tokenizer, INSIDE_VIEWS)
    assert knows_views(after.text.tokenizer, INSIDE_VIEWS)
    longest = "a photo of an orange room with " + ", ".join(["two small orange ice creams"] * 4)
    ids = after.text.tokenizer(f"{longest} in the evening, 45 degrees left 15 down view").input_ids
    assert after.text.tokenizer.unk_token_id not in ids and len(ids) <= MAX_TOKENS
