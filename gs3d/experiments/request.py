"""What a user asks of `gs3d evaluate`, and what it means for its runs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gs3d.core.errors import UserError
from gs3d.distill.settings.config import load_config
from gs3d.distill.settings.presets import misfit, paper_presets
from gs3d.experiments.methods import Method
from gs3d.experiments.options import Options
from gs3d.experiments.setup import Setup, shares
from gs3d.guidance import GUIDANCE, name_of
from gs3d.guidance.base import learns
from gs3d.priors.loading.components import backbone_part
from gs3d.priors.loading.factories import FACTORIES, code, create
from gs3d.priors.loading.resolve import default_prior, resolve
from gs3d.priors.loading.weights import facts_of, weight_files
from gs3d.priors.prompts import default_negative
from gs3d.runs.prepare import prepare, preset_for
from gs3d.runs.request import DEFAULT_MINUTES, Raster, Request, Vram, pick_device
from gs3d.runs.starts.builtin import start_prompt

Say = Callable[[str], None]


@dataclass(frozen=True)
class Evaluation:
    """Generate objects from a list of prompts with each method, grade them against reference
    objects, and write evaluation.json, report.html and sheet.png."""

    prompts: str | None = None
    """A file with one prompt per line, or a list shipped with gs3d: tuning, reporting, ablation,
    plain or two-objects."""
    runs: tuple[Path, ...] = ()
    """Folders of existing runs to grade, instead of new runs."""
    methods: tuple[str, ...] = ("cds", "sds")
    """Methods to compare, the first with each other. A method is a guidance loss, FILE.py:CLASS
    with one of your own, or a preset with its own loss (builtin-dreamfusion), and changed settings
    after commas, without spaces: cds, or cds,noise=fixed,cfg.start=12. start=... and lora=... take
    the place of --start and --lora, such as cds,start=RUN_OR_FILE; start=null is for none."""
    league: bool = False
    """Compare all losses of gs3d, and all presets of papers that fit the prior, with the default
    first. Methods that are given come after them."""
    seeds: tuple[int, ...] = (0,)
    """Random seeds. Each prompt is run with each of them."""
    minutes: float | None = None
    """Wall-clock minutes of each run. Default 3, unless steps are given."""
    steps: int | None = None
    """Number of iterations of each run, instead of minutes."""
    evaluations: int | None = None
    """Evaluations of the prior in each run, instead of minutes or steps: images with and without
    the prompt. A loss that needs twice as many in an iteration gets half as many iterations. Unlike
    minutes, they do not depend on the machine."""
    scorer: str | None = None
    """CLIP model for R-precision over 120 views: builtin, which knows the procedural world only; a
    hub id (openai/clip-vit-large-patch14) or a folder, for any prompts."""
    prior: str = "builtin"
    """Diffusion model, as for gs3d generate."""
    lora: tuple[str, ...] = ()
    """LoRA of every run, as for gs3d generate."""
    config: str | None = None
    """Preset or YAML file for all methods. By default a preset for the prior and minutes."""
    start: Path | None = None
    """What every run starts from: a run's folder, a splat file, a mesh, builtin or shap-e, as for
    gs3d generate."""
    vram: Vram = "auto"
    """Gigabytes of the GPU, as for gs3d generate."""
    raster: Raster = "auto"
    """Rasterizer of every run, as for gs3d generate."""
    device: str | None = None
    """Device of the prior of every run, as for gs3d generate."""
    out: Path | None = None
    """Output directory. Default outputs/evaluation-PROMPTS; with --from, outputs/evaluation."""
    at_once: int = 1
    """Number of parallel runs. Each gets an equal share of the cores, so in the same minutes it
    does fewer iterations than alone."""
    limit: int | None = None
    """Maximum number of runs. All methods and seeds of a prompt come before the next prompt."""


def check_evaluations(request: Evaluation) -> None:
    """`UserError` unless `evaluations` is the only budget and positive, if given."""
    if request.evaluations is None:
        return
    if request.minutes is not None or request.steps is not None:
        raise UserError("--evaluations: give one of --minutes, --steps and --evaluations")
    if request.evaluations < 1:
        raise UserError(f"--evaluations: expected 1 or more, got {request.evaluations}")


def setup_of(request: Evaluation, prompts: Iterable[str], say: Say) -> tuple[Setup, dict]:
    """What the runs of an evaluation share, and the settings that its results are valid for."""
    minutes = request.minutes or DEFAULT_MINUTES
    budget = ("--minutes", f"{minutes:g}")
    for name in ("steps", "evaluations"):
        if (amount := getattr(request, name)) is not None:
            budget = (f"--{name}", str(amount))
    options = Options(request.start, request.lora, request.vram, request.raster, request.device)
    prior = _facts(request, prompts, say)
    limit = minutes if budget[0] == "--minutes" else None
    base = request.config or preset_for(prior.is_like_builtin, limit)
    out = request.out or Path("outputs") / f"evaluation-{Path(str(request.prompts)).stem}"
    settings = {
        "budget": " ".join(budget),
        "prior": prior.name,
        "config": base,
        "cores": len(shares(request.at_once)[0]),
        "scorer": request.scorer,
        **options.given,
    }
    made = Setup(
        out,
        budget,
        base,
        prior.name,
        prior.identity,
        request.at_once,
        options,
        prior.has_negative,
        prior.is_like_builtin,
        prior.views,
        base_is_chosen=request.config is not None,
    )
    return made, settings


def methods_of(request: Evaluation, setup: Setup) -> list[Method]:
    """The methods to compare, the first of which the others are compared with."""
    texts = list(request.methods)
    if request.league:
        given = [] if request.methods == Evaluation.methods else texts
        default = name_of(load_config(setup.base).stages[0].guidance)
        losses = [default, *(name for name in GUIDANCE if name != default)]
        found = map(Method.parse, (*losses, *paper_presets(small=setup.is_like_builtin)))
        if setup.views > 1:  # what a loss learns, it learns of single views
            found = (m for m in found if not any(map(learns, m.guidances(setup.base))))
        return list(dict.fromkeys((*found, *map(Method.parse, given))))
    return list(dict.fromkeys(map(Method.parse, texts)))


def check_method(
    method: Method, setup: Setup, request: Evaluation, prompts: Sequence[str], say: Say
) -> None:
    """`UserError` for what the runs of a method would refuse: it should not wait for the runs
    before them. Warnings about all of them are printed once."""
    try:
        _check_method(method, setup, request, prompts, say)
    except UserError as error:
        if not method.options:
            raise
        # The user typed no --start or --lora, which the message is about.
        raise UserError(f"--methods {method.name}: {error.for_command_line}") from None


def _check_method(
    method: Method, setup: Setup, request: Evaluation, prompts: Sequence[str], say: Say
) -> None:
    method.settings(setup.base)
    options = setup.options_of(method)
    if setup.prior in FACTORIES and options == Options():
        # Else `prepare` warns of it.
        if text := misfit(method.preset or request.config, setup.is_like_builtin):
            say(f"warning: {method.name}: the preset {method.preset or request.config} {text}")
    else:
        kind, amount = setup.budget_of(method)
        like_a_run = Request(
            prompts[0],
            float(amount) if kind == "--minutes" else None,
            steps=int(amount) if kind == "--steps" else None,
            prior=setup.prior,
            guidance=method.guidance,
            config=method.preset or request.config,
            set=method.paths,
            out=setup.out / "runs" / "none",
            start=options.start,
            lora=options.lora,
            vram=options.vram,
            raster=options.raster,
            device=options.device,
            seeds=options.seeds,
        )
        for message in prepare(like_a_run).messages:
            if message.is_warning:
                say(f"warning: {method.name}: {message.text}")
    for prompt in prompts:
        start_prompt(Request(prompt, start=options.start), setup.out)
    setup.fingerprint(method)


class _Facts(NamedTuple):
    """What an evaluation must know of its prior."""

    name: str
    is_like_builtin: bool
    """Whether the presets of the built-in prior fit it."""
    has_negative: bool
    """Whether it has a negative prompt by default."""
    views: int
    """Views that it denoises together."""
    identity: str
    """A text that changes with its weights or code."""


def _facts(request: Evaluation, prompts: Iterable[str], say: Say) -> _Facts:
    name = request.prior
    if name == "auto":
        name, why = default_prior(pick_device(request.device), " ".join(prompts))
        say(why)
    if name in FACTORIES:
        made = create(name, "cpu")
        negative = bool(default_negative(made))
        return _Facts(name, made.latent_shape[0] == 3, negative, made.views, code(name))
    source = resolve(name)
    part = backbone_part(source.index)
    assert part is not None  # `index` refuses a model without one
    files = weight_files(source.folder / part, half=True)
    # A vocabulary is not read here: it is open in all models but those like the built-in one.
    small = source.is_like_builtin
    return _Facts(name, small, not small, source.views, repr(facts_of(files)))
