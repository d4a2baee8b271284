"""Many prompts on a Ray cluster, and a table of what came out.

ray start --head                                            # a cluster of this machine alone
python examples/batch_on_ray.py --ray auto --minutes 3

It is `gs3d batch` as a program: started again, it makes what is missing. Without --ray the rows are
made by processes of this machine.
"""

import argparse
import sys
from pathlib import Path

from gs3d.batch.request import Batch
from gs3d.batch.run import run_batch
from gs3d.batch.shown.tally import Tally
from gs3d.batch.status import status_of
from gs3d.batch.workers.job import Event

PROMPTS = ["a red mushroom with white spots", "a blue chair", "a green car with black wheels"]


def watch(event: Event, tally: Tally) -> None:
    """Called with everything that happens to a row: it begins, has made steps, ended, or failed."""
    print(f"{event.row.row.name}: {event.kind}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ray", default=None, help="auto, or HOST:PORT of a cluster")
    parser.add_argument("--minutes", type=float, default=None, help="of each row")
    parser.add_argument("--steps", type=int, default=None, help="of each row, instead of minutes")
    parser.add_argument("--out", type=Path, default=Path("outputs/example-batch"))
    parser.add_argument("--prompts", nargs="+", default=PROMPTS)
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    listed = args.out.with_name(f"{args.out.name}.txt")
    listed.write_text("\n".join(args.prompts) + "\n")
    batch = Batch(
        listed, out=args.out, ray=args.ray, steps=args.steps, minutes=args.minutes, prior="builtin"
    )
    status = run_batch(batch, print, watch)
    for entry in status_of(args.out):
        print(f"{entry.name:40} {entry.state:8} {entry.steps} iterations {entry.reason or ''}")
    print(f"look at {args.out / 'gallery.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
