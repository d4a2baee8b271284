"""Train the classifier: `python scripts/train_classifier.py --pool runs/pool --out runs/classifier`. The same command resumes."""

import json

import tyro

from gs3d.pretraining.classifier import FitConfig, fit

if __name__ == "__main__":
    print(json.dumps(fit(tyro.cli(FitConfig)), indent=2))
