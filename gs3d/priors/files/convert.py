# pyright: reportUnknownMemberType=false, reportPrivateImportUsage=false
# diffusers and huggingface_hub have no complete types.
"""A pipeline of diffusers from a checkpoint in its original layout, with what the file lacks."""

import warnings
from pathlib import Path
from typing import Any

import torch

from gs3d.core import rng
from gs3d.core.errors import UserError
from gs3d.core.runtime.interrupts import deferred
from gs3d.priors.files.contents import Contents
from gs3d.priors.files.layouts import UNET, VAES, Layout
from gs3d.priors.loading import cache, components, hub

LATENTS_768 = 96
"""Side of the latents of Stable Diffusion 2.0 and 2.1 with v-prediction, which are for 768²."""
LAST_TIME, SIDE = 999, 32
"""Time step and side of the latents at which `predicts_velocity` looks."""
TYPES = {"F32": torch.float32, "F64": torch.float32, "BF16": torch.bfloat16}
"""Type in the file → type in the folder; float16 for all others, such as those of 8 bits."""


def pipeline_of(
    what: str, file: Path, contents: Contents, layout: Layout, configuration: Path
) -> Any:
    """The parts of the model in the precision of the file, as a pipeline of diffusers."""
    with deferred():
        import diffusers

    _check_counts(what, contents, configuration)
    kinds = {
        "unet": contents.widest(UNET),
        "vae": contents.widest(*VAES),
        **{part: contents.widest(_prefix(mark)) for part, mark in layout.encoders.items()},
    }
    types = {part: TYPES.get(kind, torch.float16) for part, kind in kinds.items()}
    # One type for all parts, which has to hold each: the probe of the prediction needs float32.
    probes = layout.name == "Stable Diffusion 2"
    same = len(set(types.values())) == 1 and not probes
    with warnings.catch_warnings():
        # diffusers corrects settings of old schedulers that gs3d does not use, at length.
        warnings.simplefilter("ignore", FutureWarning)
        pipeline: Any = getattr(diffusers, layout.pipeline).from_single_file(
            str(file),
            config=str(configuration),
            torch_dtype=types["unet"] if same else torch.float32,
            local_files_only=True,
            # Parts for images, which text does not need.
            safety_checker=None,
            feature_extractor=None,
            image_encoder=None,
        )
    for part in types:
        _check_whole(what, part, getattr(pipeline, part))
    velocity = _velocity_of(contents)
    if velocity is None and probes:
        velocity = predicts_velocity(pipeline.unet)
    if velocity:
        pipeline.scheduler.register_to_config(prediction_type="v_prediction")
        if probes:
            pipeline.unet.register_to_config(sample_size=LATENTS_768, upcast_attention=True)
    for part, kind in types.items():
        getattr(pipeline, part).to(kind)
    return pipeline


def predicts_velocity(unet: Any) -> bool:
    """Whether a network of Stable Diffusion 2 predicts v, not the noise ε.

    The weights do not say which, and both kinds were published. At the last time x is noise with
    hardly any image, so ε is x itself, and v = αε − σz0 (Salimans & Ho 2022, Appendix D) is close
    to the image, which x tells little about: α is 0.07.
    """
    channels, width = unet.config.in_channels, unet.config.cross_attention_dim
    x = rng.normal((1, channels, SIDE, SIDE), 0, "prediction")
    with torch.no_grad():
        time_step, text = torch.tensor([LAST_TIME]), torch.zeros(1, 77, width)
        output = unet(x, time_step, text, return_dict=False)[0]
    return bool(torch.nn.functional.cosine_similarity(x.flatten(), output.flatten(), 0) < 0.5)


def _check_counts(what: str, contents: Contents, configuration: Path) -> None:
    """Refuse a file whose U-Net or autoencoder has not as many weights as its configuration says.

    diffusers drops the weights that it does not know, and stumbles over those that are missing.
    """
    import diffusers

    vaes = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
    prefixes = {"unet": (UNET,), "vae": tuple(f"{vae}{inner}" for vae in VAES for inner in vaes)}
    classes: dict[str, Any] = {
        "unet": diffusers.UNet2DConditionModel,
        "vae": diffusers.AutoencoderKL,
    }
    for part, cls in classes.items():
        with torch.device("meta"):
            model = cls.from_config(cls.load_config(configuration / part))
        given, taken = contents.numbers(*prefixes[part]), sum(w.numel() for w in model.parameters())
        if given != taken:
            raise UserError(
                f"{what}: its {part} has {given:,} weights, not {taken:,}; the file is incomplete, "
                "or of another architecture"
            )


def _check_whole(what: str, part: str, model: Any) -> None:
    """Refuse a network that lacks weights."""
    missing = sorted(name for name, weight in model.named_parameters() if weight.is_meta)
    if missing:
        raise UserError(
            f"{what}: its {part} lacks {len(missing)} weights such as {missing[0]}; the file is "
            "incomplete, or of another architecture"
        )


def _velocity_of(contents: Contents) -> bool | None:
    """Whether the network predicts v by what the file says of itself; None if it says nothing."""
    if "v_pred" in contents.tensors.shapes:
        return True
    said = contents.metadata.get("modelspec.prediction_type", "").lower()
    return said.startswith("v") if said in ("v", "v_prediction", "epsilon") else None


def configuration_of(what: str, layout: Layout, offline: bool) -> Path:
    """Folder with the configuration and tokenizer of the model, without weights."""
    subject = f"{what}: the configuration of {layout.name} (a few megabytes, not in the file)"
    copied = f"copy {layout.repos[0]} into the cache"
    found = cache.cached(
        subject,
        layout.name,
        (*layout.repos, *layout.retired),
        is_complete=_has_configuration,
        offline=offline,
    )
    if found:
        return found.folder
    if cache.is_offline(offline):
        from huggingface_hub import constants

        why = "downloads are turned off" if offline else "HF_HUB_OFFLINE is set"
        raise UserError(
            f"{subject}: not in the cache ({constants.HF_HUB_CACHE}), and {why}; run once with a "
            f"network, or {copied}"
        )
    advice = f"Or {copied}, or pass a diffusers folder of the model"
    return hub.download(subject, layout.name, layout.repos, offline, advice, _fetch).folder


def _fetch(name: str, repo: str) -> Path | str:
    """Download a repository's configuration; see `hub.fetch_model`."""
    import huggingface_hub

    files = [f for f in hub.files_of(repo) if "/" not in f or f.split("/")[0] in hub.PARTS]
    wanted = [f for f in hub.needed_files(files) if not f.endswith((".safetensors", ".md"))]
    if "model_index.json" not in wanted:
        return "contains no diffusers model"
    return Path(
        huggingface_hub.snapshot_download(repo, allow_patterns=wanted, etag_timeout=hub.CONNECT_S)
    )


def _has_configuration(folder: Path) -> bool:
    try:
        index = components.read_index(folder)
    except UserError:
        return False
    networks = [part for part in components.NETWORKS if part in index]
    tokenizers = [part for part in components.TOKENIZERS if part in index]
    return (
        all((folder / part / "config.json").is_file() for part in networks)
        and all(cache.is_complete_tokenizer(folder / part) for part in tokenizers)
        and (folder / "scheduler" / "scheduler_config.json").is_file()
    )


def _prefix(mark: str) -> str:
    """Beginning of the names of a text encoder's weights, from one of them."""
    for end in ("transformer.", "model."):
        if end in mark:
            return mark[: mark.index(end) + len(end)]
    raise ValueError(mark)
