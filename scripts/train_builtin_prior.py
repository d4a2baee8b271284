"""Train the built-in prior: `python scripts/train_builtin_prior.py --pool runs/pool --out runs/prior`. The same command resumes."""

import tyro

from gs3d.core.memory import keep_freed_blocks
from gs3d.fitting.prior import FitConfig, fit

if __name__ == "__main__":
    keep_freed_blocks()
    fit(tyro.cli(FitConfig))
