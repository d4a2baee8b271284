import dataclasses
import json

import numpy as np
import pytest
import torch

from gs3d.fitting import prior as fitting
from gs3d.fitting.captioned import Captioned
from gs3d.fitting.resume import batch_indices
from gs3d.priors import builtin, load
from gs3d.world import pool as pools
from gs3d.world.captions import vocabulary_words
from gs3d.world.pool import Pool


@pytest.fixture(scope="module")
def pool_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "SHARD", 64)
        pools.write_shard(folder, 1, 0)
    return folder


@pytest.fixture(scope="module")
def config(pool_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("fit")
    return fitting.FitConfig(pool_folder, out, images=24, batch=8, warmup_images=8, cooldown_images=8, log_every=1, device="cpu")


def test_batches_visit_every_sample_once_an_epoch_and_depend_on_what_was_seen():
    epoch = np.concatenate([batch_indices(32, 8, 0, seen) for seen in range(0, 32, 8)])
    assert sorted(epoch) == list(range(32))
    assert not np.array_equal(batch_indices(32, 8, 0, 0), batch_indices(32, 8, 0, 32))


def test_captions_in_tokens_say_what_the_pool_says(pool_folder):
    tokenizer = builtin.new_tokenizer(vocabulary_words())
    pool = Pool.open(pool_folder)
    data = Captioned.open(pool, tokenizer, "cpu")
    images, tokens, _ = data.batch(np.arange(64), 0.2, 0, 0)
    texts = [tokenizer.decode(t, skip_special_tokens=True) for t in tokens]
    assert images.shape == (64, 64, 64, 3) and images.min() >= 0 and images.max() <= 1
    empty = [t == "" for t in texts]
    assert 3 <= sum(empty) <= 28
    for text, row in zip(texts, pool.labels, strict=True):
        if text:
            assert row["caption"] in text
            assert text.endswith(f"{row['view']} view") or "view" not in text
    assert any("photo" in t for t in texts) and any("view" not in t for t in texts if t)


def test_training_resumes_exactly_and_leaves_a_prior_that_loads(config, tmp_path):
    assert fitting.fit(config) == 24
    parts = dataclasses.replace(config, out=tmp_path, stop_after_s=0.0)
    assert [fitting.fit(parts) for _ in range(3)] == [8, 16, 24]
    whole, pieces = (load(folder / "model", "cpu") for folder in (config.out, tmp_path))
    for a, b in zip(whole.network.backbone.parameters(), pieces.network.backbone.parameters(), strict=True):
        assert torch.equal(a, b)
    rows = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    assert [r["images"] for r in rows if "loss" in r] == [8, 16, 24] and "ema_loss" in rows[-1]


def test_loss_is_one_before_training(config):
    tokenizer = builtin.new_tokenizer(vocabulary_words())
    model = fitting.Denoiser(builtin.new_backbone(), builtin.new_text_encoder(tokenizer))
    torch.nn.init.zeros_(model.backbone.proj_out.weight)
    torch.nn.init.zeros_(model.backbone.proj_out.bias)
    data = Captioned.open(Pool.open(config.pool), tokenizer, "cpu")
    with torch.no_grad():
        loss = fitting.loss_of(model, *fitting.draw(config, data, np.arange(64), 0, 0))
    # E[((σ² + σd²) / (σ σd)²) (c_skip z − z0)²] = 1 where the data have variance σd² about zero; world pictures nearly do.
    assert loss.item() == pytest.approx(1, abs=0.35)


def test_rate_warms_up_decays_and_cools_down(config):
    c = dataclasses.replace(config, images=1000, warmup_images=100, decay_images=400, cooldown_images=200, lr=1.0)
    assert fitting.learning_rate(c, 50) == pytest.approx(0.5)
    assert fitting.learning_rate(c, 300) == 1
    assert fitting.learning_rate(c, 800) == pytest.approx(0.5**0.5)
    assert fitting.learning_rate(c, 1000) == 0


def test_weights_fit_the_package(config):
    fitting.fit(config)
    size = sum(p.stat().st_size for p in (config.out / "model").rglob("*.safetensors"))
    assert size <= 16e6
