"""What diffusers' own pipelines say D is: their whole call, with one step to σ = 0.

The last step of a deterministic scheduler ends at its estimate of z0. Guidance, the texts, their
masks and the variance are thus those of the pipeline's code, not of a test's.
"""

import diffusers

from gs3d.priors.base import Condition, guided


class PixArt:
    """Alpha and Sigma."""

    levels = (80, 450, 900)
    """Steps of the training."""

    def __init__(self, folder, alpha=False):
        cls = diffusers.PixArtAlphaPipeline if alpha else diffusers.PixArtSigmaPipeline
        self.pipe, self.size = cls.from_pretrained(folder), 256 if alpha else 16
        self.pipe.set_progress_bar_config(disable=True)
        # Of a single step, PixArt-α takes a second result, which this scheduler does not have.
        step = self.pipe.scheduler.step
        self.pipe.scheduler.step = lambda *args, **options: 2 * step(*args, **options)

    def sigma(self, step):
        a = self.pipe.scheduler.alphas_cumprod[step]
        return float(((1 - a) / a).sqrt())

    def denoise(self, z, step, prompts, negative="", scale=1.0):
        self.pipe.scheduler.set_timesteps(4)  # An earlier call left it at its end.
        return self.pipe(
            prompts,
            negative,
            timesteps=[step],
            guidance_scale=scale,
            latents=z * self.pipe.scheduler.alphas_cumprod[step].sqrt(),
            use_resolution_binning=False,
            clean_caption=False,
            output_type="latent",
            height=self.size,
            width=self.size,
        ).images


class DeepFloyd:
    levels = (80, 450, 900)

    def __init__(self, folder):
        self.pipe = diffusers.IFPipeline.from_pretrained(
            folder, safety_checker=None, feature_extractor=None, watermarker=None
        )
        self.pipe.set_progress_bar_config(disable=True)

    sigma = PixArt.sigma

    def denoise(self, z, step, prompts, negative="", scale=1.0):
        """Its scheduler adds noise in every step; its estimate of z0 is a result beside that."""
        s = self.pipe.scheduler
        x, estimates, original = z * s.alphas_cumprod[step].sqrt(), [], s.step

        def recorded(*args, return_dict, **options):
            result = original(*args, **options)
            estimates.append(result.pred_original_sample)
            return (result.prev_sample,)

        self.pipe.prepare_intermediate_images = lambda *args: x
        s.step = recorded
        try:
            self.pipe(
                prompts,
                timesteps=[step],
                guidance_scale=scale,
                negative_prompt=[negative] * len(prompts),
                clean_caption=False,
                output_type="pt",
            )
        finally:
            s.step = original
        return estimates[-1]


class Flux:
    levels = (0.1, 0.5, 0.9)
    """Shares of noise, before the scheduler shifts them."""

    def __init__(self, folder):
        self.pipe = diffusers.FluxPipeline.from_pretrained(folder)
        self.pipe.set_progress_bar_config(disable=True)
        dev = self.pipe.transformer.config.guidance_embeds
        self.length = 512 if dev else 256

    def share(self, level):
        """The share of noise that the scheduler makes of `level` for images of 128²."""
        from diffusers.pipelines.flux.pipeline_flux import calculate_shift

        mu = calculate_shift(32 * 32) if self.pipe.scheduler.config.use_dynamic_shifting else None
        self.pipe.scheduler.set_timesteps(sigmas=[level], mu=mu)
        return float(self.pipe.scheduler.sigmas[0])

    def sigma(self, level):
        share = self.share(level)
        return share / (1 - share)

    def denoise(self, z, level, prompts, negative="", scale=1.0):
        x = z * (1 - self.share(level))
        latents = self.pipe._pack_latents(x, *x.shape)
        out = self.pipe(
            prompts,
            negative_prompt=[negative] * len(prompts),
            true_cfg_scale=scale,
            guidance_scale=1.0,
            sigmas=[level],
            latents=latents,
            height=128,
            width=128,
            max_sequence_length=self.length,
            output_type="latent",
        ).images
        return self.pipe._unpack_latents(out, 128, 128, 2)


def pipeline_of(name, folder):
    """The pipeline of one of the models of `conftest.WRITERS`."""
    if name in ("dev", "schnell"):
        return Flux(folder)
    return DeepFloyd(folder) if name == "if" else PixArt(folder, name == "alpha")


def answer(prior, z, sigma, prompts, negative="", scale=1.0):
    """What gs3d says."""
    condition = Condition(prior.embed(prompts), prior.embed([negative] * len(prompts)))
    return guided(prior, z, sigma, condition, scale)


def relative(got, expected):
    """Largest difference, relative to the largest expected value."""
    return float((got - expected).abs().max() / expected.abs().max())
