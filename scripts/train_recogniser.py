"""Train the recogniser: `python scripts/train_recogniser.py --pool runs/pool --out runs/recogniser`. The same command resumes."""

import json

import tyro

from gs3d.fitting.recogniser import FitConfig, fit

if __name__ == "__main__":
    print(json.dumps(fit(tyro.cli(FitConfig)), indent=2))
