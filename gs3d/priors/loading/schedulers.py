"""From a diffusers scheduler to the scaling of its network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError, shown
from gs3d.priors.families.base import SCALINGS, Family
from gs3d.priors.loading.headers import read_object
from gs3d.priors.scalings import Edm, Epsilon, Flow, Scaling, Velocity, VpTable

STEPS = (3, 10_000)
"""Numbers of time steps that a schedule may have; a table of them is computed."""
DATA_STD = (1e-3, 1e3)
"""Range of the standard deviation of data."""
KINDS = {"EDM": ("sigma_data",), "FlowMatch": ("num_train_timesteps",)}
"""Beginning of the class of a scheduler → settings without which its noise would be a guess."""
EDM = "EDMEulerScheduler"
TABLE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
"""The same for all other classes; trained_betas may stand for all of them."""


def check_scheduler(what: str, folder: Path, cls: str) -> None:
    """Raise `UserError`, whose message begins with `what`, for a scheduler of another model.

    `cls` is its class in model_index.json. A scheduler takes defaults for all that its file does
    not say, and is built, with its table of noise, from any file.
    """
    if not folder.is_dir():
        raise UserError(f"{what} is missing; download the model again")
    config = read_object(folder / "scheduler_config.json", what)
    own = config.get("_class_name", cls)
    if _kind(str(own)) != _kind(cls):
        raise UserError(
            f"{what} is a {shown(own, 60)}, but model_index.json says {shown(cls, 60)}; "
            "the two are of different models"
        )
    needed = KINDS.get(_kind(cls), () if config.get("trained_betas") is not None else TABLE)
    if missing := [key for key in needed if key not in config]:
        raise UserError(f"{what} does not say its {missing[0]}; download the model again")
    steps = config.get("num_train_timesteps", STEPS[0])
    if type(steps) is not int or not STEPS[0] <= steps <= STEPS[1]:
        raise UserError(
            f"{what} has num_train_timesteps {shown(steps)}; "
            f"expected {STEPS[0]} to {STEPS[1]}; download the model again"
        )
    std = config.get("sigma_data", 1.0)
    if type(std) not in (int, float) or not DATA_STD[0] <= std <= DATA_STD[1]:
        raise UserError(
            f"{what} has sigma_data {shown(std)}; expected {DATA_STD[0]:g} to {DATA_STD[1]:g}; "
            "download the model again"
        )


def check_scaling(name: str, scaling: Scaling, family: Family) -> None:
    """Raise `UserError` for a scheduler that says another prediction than the `family` makes."""
    if type(scaling) not in family.scalings:
        raise UserError(
            f"prior {name}: its scheduler says {SCALINGS[type(scaling)]}; expected "
            f"{' or '.join(SCALINGS[kind] for kind in family.scalings)} for {family.name}; "
            "the two are of different models"
        )


def _kind(cls: str) -> str:
    return next((kind for kind in KINDS if cls.startswith(kind)), "")


def edm_scaling(config: Mapping[str, Any]) -> Edm | None:
    """`scaling_of` an EDMEulerScheduler, from its file alone; None for any other scheduler."""
    kinds = config.get("_class_name"), config.get("prediction_type", "epsilon")
    return Edm(float(config["sigma_data"])) if kinds == (EDM, "epsilon") else None


def scaling_of(scheduler: Any, where: str = "the model") -> Scaling:
    """Scaling for the noise schedule and prediction type of a diffusers scheduler.

    `where` names the model in the message of the `UserError` for an unsupported scheduler.
    """
    cls = type(scheduler).__name__
    config = scheduler.config
    prediction = config.get("prediction_type", "epsilon")
    if cls.startswith("EDM") and prediction == "epsilon":
        return Edm(float(config.sigma_data))
    if cls.startswith("FlowMatch"):
        return Flow(float(config.num_train_timesteps))
    if hasattr(scheduler, "alphas_cumprod") and prediction in ("epsilon", "v_prediction"):
        if config.get("rescale_betas_zero_snr", False):
            raise UserError(
                f"prior {where}: its scheduler ends at zero signal (rescale_betas_zero_snr), "
                "where σ is infinite; use another model"
            )
        table = VpTable.from_alphas_cumprod(scheduler.alphas_cumprod)
        return Velocity(table) if prediction == "v_prediction" else Epsilon(table)
    raise UserError(
        f"prior {where}: its scheduler is a {cls} with prediction_type {shown(prediction)}; "
        "expected epsilon or v_prediction with betas, EDM with epsilon, or flow matching; "
        "use another model"
    )
