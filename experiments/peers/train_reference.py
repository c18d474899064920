"""Trains step by step what `coppice train` trained, in plain Python torch, and compares the losses.

Usage: `python train_reference.py RECIPE RUN [--steps 50] [--tolerance 1e-4]`, after `coppice train RECIPE --output RUN`; or
`python train_reference.py --coppice target/release/coppice --text FILE.jsonl`, which makes a small model, upcycles it, trains both by the
recipes below and compares both.

RECIPE is the file `coppice train` read: a checkpoint in `[model]`, texts in `[data]`, and `order = "sequential"`. The model is written
again in `reference_model.py`, the optimizer is `torch.optim.AdamW` with `clip_grad_norm_`, schedule and router losses follow their
definitions (see each function). Everything is fp32. Every step's loss, learning rate and router losses are held against the run's
`metrics.jsonl`: prints the largest absolute difference of each as one JSON object, and exits with 1 where one is above the tolerance.
A token whose K-th and next router logit differ by less than the rounding of two implementations (some 1e-6) may be sent elsewhere by either,
after which their curves part as those of two seeds do; `smallest_margin` says how close the run came to that.
Needs torch, safetensors and tokenizers; zstandard for compressed texts.
"""

import argparse
import json
import math
import pathlib
import subprocess
import tempfile
import tomllib

import reference_fixture as fixture
import reference_model as model
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy

OPTIMIZER = {"betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "clip_norm": 1.0,
             "decay_norms": False, "decay_biases": False, "decay_router": False}
LOSSES = {"balance_coefficient": 0.01, "balance_level": "micro_batch", "z_coefficient": 1e-3}


def tokens(recipe: dict, config: dict, wanted: int) -> torch.Tensor:
    """The first ids of the training texts, each text followed by the end-of-text id; at most a little more than `wanted`."""
    tokenizer, ids = Tokenizer.from_file(f"{recipe['model']['checkpoint']}/tokenizer.json"), []
    for text in (text for path in recipe["data"]["train"] for text in fixture.documents(pathlib.Path(path))):
        ids += [*tokenizer.encode(text, add_special_tokens=False).ids, config["eos_token_id"]]
        if len(ids) > wanted:
            break
    return torch.tensor(ids)


def batch(ids: torch.Tensor, step: int, train: dict) -> torch.Tensor:
    """Blocks `[b, S + 1]` of a step, counted from 1: one after another, each beginning with the last token of the one before."""
    length, size = train["sequence_length"], train["batch_size"]
    starts = [block * length for block in range((step - 1) * size, step * size)]
    return torch.stack([ids[start : start + length + 1] for start in starts])


def rate(step: int, schedule: dict, steps: int) -> float:
    """A linear warm-up, then half a cosine, a line or nothing down to `min_ratio` of the peak at the last step."""
    warmup, floor, kind = schedule.get("warmup_steps", 0), schedule.get("min_ratio", 0.1), schedule.get("kind", "cosine")
    if step < warmup:
        low = floor if kind == "reset" else 0.0
        return schedule["peak"] * (low + (1 - low) * step / warmup)
    way = (step - warmup) / max(steps - warmup, 1)
    left = {"linear": 1 - way, "constant": 1.0}.get(kind, (1 + math.cos(math.pi * way)) / 2)
    return schedule["peak"] * (floor + (1 - floor) * left)


def decay(name: str, optimizer: dict) -> float:
    """Matrices decay; biases, norms and routers where the recipe says so."""
    kinds = {"decay_biases": name.endswith(".bias"), "decay_norms": "norm" in name, "decay_router": name.endswith(".mlp.gate.weight")}
    return next((optimizer["weight_decay"] * optimizer[key] for key, holds in kinds.items() if holds), optimizer["weight_decay"])


def balance(routing: model.Routing, gate: str, seen: torch.Tensor) -> torch.Tensor:
    """`N sum_i f_i P_i`: f_i the share of the assignments `seen [N]` that expert i got, P_i its mean probability (2101.03961)."""
    p = model.scores(routing.logits, gate)
    share = seen / seen.sum()
    return len(seen) * (share * (p / p.sum(-1, keepdim=True)).mean(0)).sum()


def router_losses(routings: list[model.Routing], before: list, losses: dict, config: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Balance and z-loss (2202.08906, eq. 5), means over the routed layers; `before` counts the step's earlier micro-batches."""
    globally = losses["balance_level"] == "global_batch"
    seen = [r.counts + (past if globally and past is not None else 0) for r, past in zip(routings, before)]
    balances = [balance(r, config["gate"], count) for r, count in zip(routings, seen)]
    return torch.stack(balances).mean(), torch.stack([r.logits.logsumexp(-1).square().mean() for r in routings]).mean()


def accumulate(weights: model.Weights, blocks: torch.Tensor, train: dict, config: dict) -> dict[str, float]:
    """Gradients of a step, micro-batch by micro-batch, and its losses."""
    losses, total, found = LOSSES | train.get("losses", {}), blocks.shape[0], {}
    before, margin = [None] * len(config.get("moe_layers", [])), math.inf
    for part in blocks.split(train.get("micro_batch_size", 0) or total):
        ids, targets, share = part[:, :-1], part[:, 1:], len(part) / total
        at = model.places(ids, config["eos_token_id"], train.get("reset_at_documents", True))
        logits, routings = model.forward(weights, ids, at, config)
        terms = {"loss": (cross_entropy(logits.flatten(0, 1), targets.flatten()), 1.0)}
        if routings:
            values = router_losses(routings, before, losses, config)
            terms |= zip(("balance", "z"), zip(values, (losses["balance_coefficient"], losses["z_coefficient"])))
            before = [r.counts + (0 if past is None else past) for r, past in zip(routings, before)]
            margin = min(margin, *(r.margin for r in routings))
        sum(value * coefficient * share for value, coefficient in terms.values()).backward()
        found = {name: found.get(name, 0.0) + value.item() * share for name, (value, _) in terms.items()}
    return found | {"margin": margin}


def groups(weights: model.Weights, optimizer: dict) -> list[dict]:
    return [{"params": [tensor], "weight_decay": decay(name, optimizer)} for name, tensor in weights.items()]


def training(recipe: dict, steps: int):
    """Yields what every step found."""
    folder, train = pathlib.Path(recipe["model"]["checkpoint"]), recipe["train"]
    assert train["order"] == "sequential", "the reference reads the tokens as they stand"
    config = json.loads((folder / "config.json").read_text())
    model.check(config)
    weights = {name: w.float().requires_grad_() for path in sorted(folder.glob("*.safetensors")) for name, w in load_file(path).items()}
    ids = tokens(recipe, config, steps * train["batch_size"] * train["sequence_length"] + 1)
    settings = OPTIMIZER | train.get("optimizer", {})
    optimizer = torch.optim.AdamW(groups(weights, settings), betas=settings["betas"], eps=settings["eps"])
    for step in range(1, steps + 1):
        lr = rate(step, train["schedule"], train["steps"])
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        found = accumulate(weights, batch(ids, step, train), train, config)
        norm = torch.nn.utils.clip_grad_norm_(weights.values(), settings["clip_norm"] or math.inf)
        optimizer.step()
        yield found | {"lr": lr, "grad_norm": norm.item()}


def compare(recipe: pathlib.Path, run: pathlib.Path, steps: int, tolerance: float) -> bool:
    """Prints the largest differences; whether all losses agree."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    theirs = [line for line in lines if "loss" in line][:steps]
    settings = tomllib.loads(recipe.read_text())
    limit = (OPTIMIZER | settings["train"].get("optimizer", {}))["clip_norm"]
    ours = list(training(settings, steps))
    assert len(theirs) == steps, f"{run} has {len(theirs)} steps, expected {steps}"
    differences = {name: max(abs(a[name] - b[name]) for a, b in zip(ours, theirs)) for name in ours[0] if name != "margin"}
    margin = {"smallest_margin": min(step["margin"] for step in ours)} if "balance" in ours[0] else {}
    judged = [value for name, value in differences.items() if name != "grad_norm"]
    clipped = sum(line["grad_norm"] > limit for line in theirs) if limit else 0
    agrees = all(value <= tolerance for value in judged)  # a difference that is not a number does not agree
    print(json.dumps({"recipe": recipe.name, "steps": steps, "first_loss": theirs[0]["loss"], "last_loss": theirs[-1]["loss"],
                      "clipped_steps": clipped, "largest_difference": differences, "agrees": agrees} | margin), flush=True)
    return agrees


def prepared(coppice: str, text: pathlib.Path, folder: pathlib.Path):
    """Trains the fixtures with the binary; yields each recipe with its run."""
    fixture.dense(text, folder)
    for case in fixture.CASES:
        fixture.grow(coppice, folder, case)
        recipe, run = fixture.recipe(folder, text, case), folder / f"run-{case.name}"
        subprocess.run([coppice, "train", recipe, "--output", run, "--device", "cpu"], check=True, stdout=subprocess.DEVNULL)
        yield recipe, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=pathlib.Path, nargs="?")
    parser.add_argument("run", type=pathlib.Path, nargs="?")
    parser.add_argument("--coppice", help="binary that makes and trains the fixtures")
    parser.add_argument("--text", type=pathlib.Path, help="corpus file of the fixtures")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(options.recipe, options.run)] if options.run else prepared(options.coppice, options.text, pathlib.Path(folder))
        results = [compare(recipe, run, options.steps, options.tolerance) for recipe, run in pairs]
    raise SystemExit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
