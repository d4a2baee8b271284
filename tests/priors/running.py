"""A whole run of two iterations with a tiny model, as a user starts it."""

from gs3d.runs.execute import Result, execute
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request


def run(tmp_path, folder, device="cpu", batch=2) -> Result:
    """A run with the model in `folder`, which ends well and without a warning."""
    (config := tmp_path / "small.yaml").write_text(
        f"guidance: cds\nbatch: {batch}\ngaussians: {{count: 100}}\n"
        "cameras: {resolution_px: {at: [0.0], values: [16]}}\n"
    )
    request = Request(
        "a red car",
        steps=2,
        prior=str(folder),
        out=tmp_path / "run",
        config=config,
        device=device,
    )
    result = execute(prepare(request))
    assert result.outcome == "finished" and not result.warnings
    return result
