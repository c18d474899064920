"""Times one training step of a 4-layer slice at StableLM 2 1.6B's shapes: ours beside transformers + `torch.optim.AdamW`, on the CPU.

Usage: `python train_step.py [--ours "target/release/examples/train_step"] [--candidates dense:default,dense:fused,mixtral:fused]
[--rounds 2] [--steps 3] [--tokens 1024] [--profile]`

Both sides hold parameters, gradients and moments in bf16. A candidate is a model of `train_step_peer.py` and an AdamW variant of torch
(`default` is what torch chooses by itself on the CPU), or `ours:dense` and `ours:moe` (8 experts, top 2, in all layers). The command of
`--ours` is called as `COMMAND dense|moe --steps=N --tokens=T` and prints `{"seconds": [...], "cpu_seconds": [...], "peak_bytes",
"base_bytes"}`.
Candidates run in turn, each in a process of its own, `--rounds` times over, so that noise of the machine hits all alike.

Prints one JSON object: of each candidate the median seconds a step, tokens/s, model FLOP/s, the peak resident size (VmHWM), also less what
`import torch` takes, and where the time goes. Model FLOPs of a step over T tokens in sequences of S = T:
`6 P T + 6 L D (S + 1) T`, with P the parameters one token meets in matrix products, `L (4 D^2 + 3 D F K + N D) + V D` (K = 1 and no router
for the dense model), and attention over the causal half. What an implementation computes beyond that does not count.
"""

import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys

PEER = pathlib.Path(__file__).with_name("train_step_peer.py")
D, F, V = 2048, 5632, 100352


def flops(kind: str, options: argparse.Namespace) -> float:
    """Model FLOPs of one step."""
    layers, tokens = options.layers, options.tokens
    mlp = 3 * D * F if kind == "dense" else options.chosen * 3 * D * F + options.experts * D
    matmul = layers * (4 * D * D + mlp) + V * D
    return 6 * matmul * tokens + 6 * layers * D * (tokens + 1) * tokens


def command(candidate: str, options: argparse.Namespace, profile: bool) -> list[str]:
    model, variant = candidate.split(":")
    sizes = [f"--{name}={getattr(options, name)}" for name in ("steps", "tokens", "layers", "experts", "chosen", "threads")]
    if model == "ours":
        return [*shlex.split(options.ours), variant, *sizes]
    extra = (["--profile"] if profile else []) + (["--no-clip"] if options.no_clip else [])
    return [sys.executable, str(PEER), model, "--optimizer", variant, *sizes, *extra]


def run(candidate: str, options: argparse.Namespace, profile: bool) -> dict:
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command(candidate, options, profile), capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{candidate}: exit code {done.returncode}\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1]) | {"load": os.getloadavg()[0]}
    print(f"{candidate}: {[round(value, 2) for value in found['seconds']]} s, load {found['load']:.1f}", file=sys.stderr)
    return found


def measure(candidates: list[str], options: argparse.Namespace) -> dict[str, list[dict]]:
    """Every process of every candidate, round after round; the last round profiles where asked to."""
    found = {name: [] for name in candidates}
    for number in range(options.rounds):
        for name in candidates:
            found[name].append(run(name, options, options.profile and number + 1 == options.rounds))
    return found


def summary(name: str, runs: list[dict], options: argparse.Namespace) -> dict:
    model, variant = name.split(":")
    work = flops("dense" if "dense" in (model, variant) else "moe", options)
    seconds = [value for run in runs for value in run["seconds"]]
    parts = [part for run in runs for part in run.get("parts", [])]
    median = statistics.median(seconds)
    told = {"median_s": median, "best_s": min(seconds), "cpu_s": statistics.median(value for run in runs for value in run["cpu_seconds"]),
            "tokens_per_s": options.tokens / median, "model_gflops_per_s": work / median / 1e9,
            "peak_bytes": max(run["peak_bytes"] for run in runs),
            "peak_less_import_bytes": max(run["peak_bytes"] - run["base_bytes"] for run in runs),
            "parts_s": {key: statistics.median(part[key] for part in parts) for key in (parts or [{}])[0]},
            "seconds": [run["seconds"] for run in runs], "load": [run["load"] for run in runs]}
    return told | ({"profile": runs[-1]["profile"]} if "profile" in runs[-1] else {})


def ratios(found: dict[str, dict]) -> dict[str, float]:
    """Ours against the fastest peer of each kind, and our mixture's rate against our dense model's."""
    told = {}
    for kind, peers in (("dense", ("dense",)), ("moe", ("mixtral", "remote"))):
        theirs = [row for name, row in found.items() if name.split(":")[0] in peers]
        if theirs and (ours := found.get(f"ours:{kind}")):
            told[f"{kind}: fastest peer / ours, time"] = min(row["median_s"] for row in theirs) / ours["median_s"]
            told[f"{kind}: ours / least peer, peak less import"] = \
                ours["peak_less_import_bytes"] / min(row["peak_less_import_bytes"] for row in theirs)
    if {"ours:dense", "ours:moe"} <= found.keys():
        told["ours: moe / dense, model FLOP/s"] = found["ours:moe"]["model_gflops_per_s"] / found["ours:dense"]["model_gflops_per_s"]
    return told


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", metavar="COMMAND")
    parser.add_argument("--candidates", default="dense:default,dense:fused,mixtral:default,mixtral:fused")
    sizes = (("rounds", 2), ("steps", 3), ("tokens", 1024), ("layers", 4), ("experts", 8), ("chosen", 2), ("threads", 2))
    for name, default in sizes:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--profile", action="store_true", help="operators of one step of each peer")
    parser.add_argument("--no-clip", action="store_true", help="peers neither measure nor clip the gradient's norm")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    candidates = options.candidates.split(",") if options.candidates else []
    if options.ours:
        candidates = ["ours:dense", "ours:moe", *candidates]
    runs = measure(candidates, options)
    found = {name: summary(name, runs[name], options) for name in candidates}
    print(json.dumps({"options": vars(options), "model_flops": {kind: flops(kind, options) for kind in ("dense", "moe")},
                      "ratios": ratios(found), "candidates": found}))


if __name__ == "__main__":
    main()
