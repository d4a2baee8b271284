"""From a diffusers scheduler to the scaling of its network."""

from typing import Any

from gs3d.core.errors import UserError
from gs3d.priors.scalings import Edm, Epsilon, Flow, Scaling, Velocity, VpTable


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
        f"prior {where}: its scheduler is a {cls} with prediction_type {prediction}; expected "
        "epsilon or v_prediction with betas, EDM with epsilon, or flow matching; use another model"
    )
