import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gs3d.core.schedules import Steps
from gs3d.pretraining import denoiser
from gs3d.pretraining import prior as fitting
from gs3d.pretraining.captioned import Captioned
from gs3d.pretraining.resume import batch_indices
from gs3d.priors import builtin, load
from gs3d.world import dataset as pools
from gs3d.world.captions import NORMALS_PREFIX, PREFIXES, vocabulary_texts, with_view
from gs3d.world.dataset import Dataset


@pytest.fixture(scope="module")
def pool_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "SHARD", 64)
        pools.write_shard(folder, 1, 0, normals=0.3)
    return folder


@pytest.fixture(scope="module")
def config(pool_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("fit")
    return fitting.FitConfig(
        pool_folder,
        out,
        images=24,
        batch=8,
        warmup_images=8,
        cooldown_images=8,
        log_every=1,
        device="cpu",
    )


def test_batches_visit_every_sample_once_an_epoch_and_depend_on_what_was_seen():
    epoch = np.concatenate([batch_indices(32, 8, 0, seen) for seen in range(0, 32, 8)])
    assert sorted(epoch) == list(range(32))
    assert not np.array_equal(batch_indices(32, 8, 0, 0), batch_indices(32, 8, 0, 32))


def test_an_epoch_has_the_rarer_kinds_once_and_the_others_twice(pool_folder):
    dataset = Dataset.open(pool_folder)
    assert np.array_equal(fitting.epoch_of(dataset, ()), np.arange(len(dataset)))
    rare = dataset.labels[0]["kind"]
    counts = np.bincount(fitting.epoch_of(dataset, (rare,)), minlength=len(dataset))
    assert counts.tolist() == [1 if label["kind"] == rare else 2 for label in dataset.labels]
    with pytest.raises(ValueError, match="rarer: expected kinds of the world .* got 'unicorn'"):
        fitting.FitConfig(pool_folder, pool_folder, rarer=("unicorn",))


LOWER = [p.lower() for p in PREFIXES]


def endings(row):
    return [
        row["caption"],
        with_view(row["caption"], row["view"]),
        with_view(row["caption"], row["exact_view"]),
    ]


def test_captions_in_tokens_say_what_the_pool_says(pool_folder):
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    dataset = Dataset.open(pool_folder)
    data = Captioned.open(dataset, tokenizer, "cpu")
    images, tokens, _ = data.batch(np.arange(64), 0.2, 0, 0)
    texts = [tokenizer.decode(t, skip_special_tokens=True) for t in tokens]
    assert images.shape == (64, 64, 64, 3) and images.min() >= 0 and images.max() <= 1
    empty = [t in ("", NORMALS_PREFIX) for t in texts]
    assert 3 <= sum(empty) <= 28
    for text, row in zip(texts, dataset.labels, strict=True):
        assert (text == "") <= (
            not row["normals"]
        )  # without a caption, a normal map is still called one
        if text not in ("", NORMALS_PREFIX):
            assert row["caption"] in text
            # As the tokenizer itself would have it, and one of the three endings.
            prefixes = [NORMALS_PREFIX] if row["normals"] else ["", *LOWER]
            possible = tokenizer([f"{p} {c}" for p in prefixes for c in endings(row)]).input_ids
            assert text in tokenizer.batch_decode(possible, skip_special_tokens=True)
    assert any("photo" in t for t in texts) and any("view" not in t for t in texts if t)
    assert any("45left" in t for t in texts) and any("side view" in t for t in texts)
    whole = tokenizer(texts, padding="max_length", return_tensors="pt").input_ids
    assert torch.equal(tokens, whole)


def test_training_resumes_exactly_and_leaves_a_prior_that_loads(config, tmp_path):
    assert fitting.fit(config) == 24
    parts = dataclasses.replace(config, out=tmp_path, stop_after_s=0.0)
    assert [fitting.fit(parts) for _ in range(3)] == [8, 16, 24]
    whole, pieces = (load(folder / "model", "cpu") for folder in (config.out, tmp_path))
    for a, b in zip(
        whole.network.backbone.parameters(), pieces.network.backbone.parameters(), strict=True
    ):
        assert torch.equal(a, b)
    one, other = (load_file(folder / "checkpoint.safetensors") for folder in (config.out, tmp_path))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    assert {key.split(".")[0] for key in one} == {"model", "ema", "optimizer"}
    rows = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    assert [r["images"] for r in rows if "loss" in r] == [8, 16, 24] and "ema_loss" in rows[-1]


@pytest.mark.gpu
def test_a_card_trains_it_too_from_a_model_and_goes_on(config, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    first = dataclasses.replace(config, out=tmp_path / "first", device="cuda", half=True)
    assert fitting.fit(dataclasses.replace(first, images=16)) == 16 and fitting.fit(first) == 24
    then = dataclasses.replace(
        first,
        out=tmp_path / "then",
        start=tmp_path / "first" / "model",
        stop_after_s=60.0,
        cooldown_s=60.0,
    )
    assert fitting.fit(then) == 24
    assert all(
        torch.isfinite(w).all()
        for w in load(tmp_path / "then" / "model", "cuda").network.backbone.state_dict().values()
    )


def test_a_pool_from_before_normal_maps_is_named(pool_folder, tmp_path):
    dataset = Dataset.open(pool_folder)
    old = Dataset(
        dataset.images, [{k: v for k, v in row.items() if k != "normals"} for row in dataset.labels]
    )
    with pytest.raises(ValueError, match="render it anew"):
        Captioned.open(old, builtin.new_tokenizer(vocabulary_texts()), "cpu")


def test_a_trained_model_is_begun_from(config, tmp_path):
    words = [
        text for text in vocabulary_texts() if "left" not in text
    ]  # as if it had been trained before these came
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtin, "MAX_TOKENS", 16)
        old_tokenizer = builtin.new_tokenizer(words)
        old = denoiser.Denoiser(builtin.new_backbone(), builtin.new_text_encoder(old_tokenizer))
        torch.nn.init.normal_(old.backbone.proj_out.weight, std=0.1)  # it begins at zero
        builtin.save(tmp_path / "old", old.backbone, old.text_encoder, old_tokenizer)
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    new = denoiser.Denoiser(builtin.new_backbone(), builtin.new_text_encoder(tokenizer))
    denoiser.begin_from(new, tokenizer, tmp_path / "old")
    z, sigma, text = torch.randn(1, 3, 64, 64), torch.ones(1), "a red car, front view"
    old.eval(), new.eval()
    with torch.no_grad():
        tokens = [
            t([text], padding="max_length", return_tensors="pt").input_ids
            for t in (old_tokenizer, tokenizer)
        ]
        hidden = [
            m.text_encoder(t).last_hidden_state for m, t in zip((old, new), tokens, strict=True)
        ]
        torch.testing.assert_close(
            hidden[1][:, :16], hidden[0], atol=0.02, rtol=0.02
        )  # float16 on disk
        assert hidden[1].shape[1] == builtin.MAX_TOKENS > 16
        a, b = old(z, sigma, tokens[0]), new(z, sigma, tokens[1])
    assert (a - b).norm() < 0.1 * a.norm()


def test_a_model_of_other_scalings_is_not_begun_from(tmp_path):
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    model = denoiser.Denoiser(builtin.new_backbone(), builtin.new_text_encoder(tokenizer))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtin, "SIGMA_DATA", 0.5)
        builtin.save(tmp_path, model.backbone, model.text_encoder, tokenizer)
    with pytest.raises(ValueError, match="mean something else"):
        denoiser.begin_from(model, tokenizer, tmp_path)


def test_an_untrained_network_adds_nothing():
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    model = denoiser.Denoiser(builtin.new_backbone(), builtin.new_text_encoder(tokenizer))
    z, sigma = torch.randn(2, 3, 64, 64), torch.tensor([0.1, 3.0])
    with torch.no_grad():
        denoised = model(
            z,
            sigma,
            tokenizer(["a red car"] * 2, padding="max_length", return_tensors="pt").input_ids,
        )
    skip = builtin.SIGMA_DATA**2 / (builtin.SIGMA_DATA**2 + sigma**2)
    torch.testing.assert_close(denoised, skip[:, None, None, None] * z)


def test_the_loss_is_one_for_mid_gray_at_high_noise_and_bounded_at_low():
    z0, zeros = builtin.DATA_STD * torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)

    def loss(sigma):
        return float(
            denoiser.loss_of(lambda z, sigma, tokens: zeros, z0, torch.tensor([sigma]), zeros, None)
        )

    assert loss(50.0) == pytest.approx(1, abs=1e-3)
    assert loss(0.5) == pytest.approx(0.25 * (4 + 1 / (0.25 + builtin.SIGMA_DATA**2)))
    assert loss(1e-4) == pytest.approx(0.25 * (4 + 1 / builtin.SIGMA_DATA**2), rel=1e-3)


def test_rate_warms_up_decays_and_cools_down(config):
    c = dataclasses.replace(
        config, images=1000, warmup_images=100, decay_images=400, cooldown_images=200
    )
    assert fitting.pace(c, 50) == pytest.approx(0.5)
    assert fitting.pace(c, 300) == 1
    assert fitting.pace(c, 800) == pytest.approx(0.5**0.5)
    assert fitting.pace(c, 1000) == 0


def test_pictures_of_another_size_are_learnt_as_such_and_not_enlarged(
    config, tmp_path, monkeypatch
):
    with pytest.raises(
        ValueError, match="holds pictures of 64 pixels, not 32; render it with --size-px 32"
    ):
        fitting.fit(dataclasses.replace(config, out=tmp_path / "wrong", size_px=32))
    monkeypatch.setattr(pools, "SHARD", 16)
    cameras = dataclasses.replace(pools.CAMERAS, resolution_px=Steps((0.0,), (32,)))
    pools.write_shard(tmp_path / "pool", 1, 0, cameras)
    assert (
        fitting.fit(
            dataclasses.replace(
                config, dataset=tmp_path / "pool", out=tmp_path / "fit", images=8, size_px=32
            )
        )
        == 8
    )
    assert load(tmp_path / "fit" / "model", "cpu").image_size == 32


def test_rate_also_falls_with_the_time_that_is_left(config):
    settings = {"images": 10**6, "warmup_images": 100, "decay_images": 10**6, "cooldown_images": 1}
    c = dataclasses.replace(config, stop_after_s=60.0, cooldown_s=20.0, **settings)
    with pytest.raises(
        ValueError, match="cooldown_s: expected 0, or seconds of those in stop_after_s"
    ):
        dataclasses.replace(config, cooldown_s=20.0)
    assert [
        fitting.pace(c, 500, elapsed_s=s) for s in (0.0, 40.0, 50.0, 60.0, 61.0)
    ] == pytest.approx([1, 1, 0.5, 0, 0])


def test_weights_fit_the_package(config):
    fitting.fit(config)
    size = sum(p.stat().st_size for p in (config.out / "model").rglob("*.safetensors"))
    assert size <= 16e6


def test_a_prior_of_four_views_is_trained_from_groups_of_one_object(tmp_path, config, monkeypatch):
    monkeypatch.setattr(pools, "SHARD", 32)
    pools.write_shard(tmp_path / "pool", 1, 0, normals=0.3, together=4)
    labels = Dataset.open(tmp_path / "pool").labels
    assert all(
        len({(row["caption"], row["normals"]) for row in labels[at : at + 4]}) == 1
        for at in range(0, 32, 4)
    )
    assert len({row["exact_view"] for row in labels[:4]}) == 4
    four = dataclasses.replace(
        config, dataset=tmp_path / "pool", out=tmp_path / "four", views=4, images=16
    )
    assert fitting.fit(four) == 16
    parts = dataclasses.replace(four, out=tmp_path / "parts", stop_after_s=0.0)
    assert [fitting.fit(parts) for _ in range(2)] == [8, 16]
    whole, pieces = (
        load_file(folder / "checkpoint.safetensors") for folder in (four.out, parts.out)
    )
    assert all(torch.equal(whole[key], pieces[key]) for key in whole)
    prior = load(four.out / "model", "cpu")
    assert prior.views == 4 and prior.latent_shape == (3, 64, 64)
    with pytest.raises(ValueError, match="render it with --together 4"):
        fitting.fit(dataclasses.replace(four, dataset=config.dataset, out=tmp_path / "singles"))
    with pytest.raises(ValueError, match="of another number of views; choose another folder"):
        fitting.fit(dataclasses.replace(four, views=1))
    with pytest.raises(ValueError, match="batch: expected a multiple of 4, got 6"):
        dataclasses.replace(four, batch=6)


def test_a_prior_of_four_views_begins_from_one_of_single_pictures(tmp_path):
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    single = denoiser.Denoiser(builtin.new_backbone(), builtin.new_text_encoder(tokenizer))
    torch.nn.init.normal_(single.backbone.proj_out.weight, std=0.1)
    builtin.save(tmp_path / "single", single.backbone, single.text_encoder, tokenizer)
    four = denoiser.Denoiser(builtin.new_backbone(128), builtin.new_text_encoder(tokenizer))
    denoiser.begin_from(four, tokenizer, tmp_path / "single")
    for name, weight in four.backbone.named_parameters():
        torch.testing.assert_close(
            weight, single.backbone.get_parameter(name), atol=2e-3, rtol=2e-3
        )
    # The first quarter stands where a single picture does.
    here, there = (
        m.backbone.pos_embed.cropped_pos_embed(s, s).reshape(s // 8, s // 8, -1)
        for m, s in ((four, 128), (single, 64))
    )
    torch.testing.assert_close(here[:8, :8], there, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="a network of another shape"):
        denoiser.begin_from(
            denoiser.Denoiser(builtin.new_backbone(layers=6), builtin.new_text_encoder(tokenizer)),
            tokenizer,
            tmp_path / "single",
        )
