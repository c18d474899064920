"""Trains once alone and once as two ranks under `torchrun --no-python`, with the same global batch, and compares the loss of every step.

Usage: `python torchrun.py --coppice target/release/coppice --model DIR --corpus FILE [--steps 20] [--sequence-length 64]
[--batch-size 8] [--ranks 2]`

Needs a Python with torch (`pip install torch==2.11.0`), whose own torchrun is used. Prints the largest difference as JSON; exit 1
where it is above 1e-4 or the runs logged other steps.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

LIMIT = 1e-4

RECIPE = """[model]
checkpoint = {model}

[data]
train = [{corpus}]

[train]
sequence_length = {sequence_length}
batch_size = {batch_size}
steps = {steps}
schedule = {{ peak = 1e-3, warmup_steps = 2 }}
"""


def recipe(options: argparse.Namespace) -> str:
    """JSON strings are TOML strings."""
    model, corpus = (json.dumps(str(pathlib.Path(path).resolve())) for path in (options.model, options.corpus))
    sizes = {"sequence_length": options.sequence_length, "batch_size": options.batch_size, "steps": options.steps}
    return RECIPE.format(model=model, corpus=corpus, **sizes)


def environment() -> dict[str, str]:
    """Without what another launcher may have left, and one thread a rank."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    return {name: value for name, value in os.environ.items() if name not in names} | {"OMP_NUM_THREADS": "1"}


def run(command: list[str], what: str) -> None:
    ended = subprocess.run(command, env=environment(), stdout=subprocess.DEVNULL)
    if ended.returncode != 0:
        sys.exit(f"torchrun.py: training {what} ended with exit code {ended.returncode}")


def losses(folder: pathlib.Path) -> dict[int, float]:
    """Loss by step; a step that stands twice, as where each rank logs, is refused."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [(line["step"], line["loss"]) for line in lines if line.get("loss") is not None]
    if len(dict(steps)) != len(steps):
        sys.exit(f"torchrun.py: {folder.name}/metrics.jsonl holds a step more than once")
    return dict(steps)


def compared(alone: dict[int, float], together: dict[int, float], options: argparse.Namespace) -> dict:
    same_steps = alone.keys() == together.keys() and len(alone) == options.steps
    differences = [abs(alone[step] - together[step]) for step in alone.keys() & together.keys()]
    finite = bool(differences) and all(math.isfinite(difference) for difference in differences)
    largest = max(differences) if finite else None
    return {"steps": len(differences), "ranks": options.ranks, "largest_difference": largest, "limit": LIMIT,
            "first_loss": alone.get(min(alone)) if alone else None, "last_loss": alone.get(max(alone)) if alone else None,
            "passed": same_steps and finite and largest <= LIMIT}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", required=True)
    parser.add_argument("--model", required=True, help="checkpoint folder with a tokenizer.json")
    parser.add_argument("--corpus", required=True, help="a .jsonl or .txt file")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--sequence-length", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8, help="sequences a step over all ranks")
    parser.add_argument("--ranks", type=int, default=2)
    options = parser.parse_args()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--standalone", "--nproc-per-node", str(options.ranks)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        (folder / "recipe.toml").write_text(recipe(options))
        train = [str(pathlib.Path(options.coppice).resolve()), "train", str(folder / "recipe.toml"), "--device", "cpu", "--output"]
        run([*train, str(folder / "alone")], "alone")
        run([*torchrun, *train, str(folder / "together")], f"by {options.ranks} ranks")
        result = compared(losses(folder / "alone"), losses(folder / "together"), options)
    print(json.dumps(result))
    sys.exit(0 if result["passed"] else 1)


if __name__ == "__main__":
    main()
