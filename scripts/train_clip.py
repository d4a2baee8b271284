"""Train the small CLIP of the world: `python scripts/train_clip.py --pool runs/pool --out runs/clip`. The same command resumes."""

import json

import tyro

from gs3d.core.runtime.memory import keep_freed_blocks
from gs3d.pretraining.clip import FitConfig, fit

if __name__ == "__main__":
    keep_freed_blocks()
    print(json.dumps(fit(tyro.cli(FitConfig)), indent=2))
