"""Holds `coppice eval` against lm-eval on one small StableLM 2: the same prompts, log-likelihoods, marks and figures, and the time of both.

Usage: `python lm_eval_agreement.py --coppice target/release/coppice --data DATA_DIR --tokenizer tokenizer.json[.zst] --work DIR
        [--model DIR] [--tasks a,b] [--limit 100] [--sampler first_n] [--rounds 1]`

Tasks of lm-eval are its own task files, included as they are; only where the rows come from is changed: the shared data, brought back into the
columns of the original sets by the converters of `lm_eval_tasks.py`, which know nothing of coppice. Both run in f32 on the CPU with the same number of
threads, task by task in turn; a coppice run is a process of its own, start and loading included, lm-eval's time is that of `simple_evaluate`
with the model loaded before. Without `--model` a random model is made: weights drawn wide enough that choices differ by more than rounding.
Prints one JSON line a task and one for all; exits with 1 where a prompt or a figure differs or a log-likelihood is more than `--tolerance` off.

Needs lm_eval==0.4.13, torch, transformers, zstandard.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from lm_eval_tasks import TASKS, write_tasks  # noqa: E402
from lm_eval_model import make_model  # noqa: E402


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--tokenizer", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--limit", type=int, default=100, help="items of a task; a task of many groups or long answers takes fewer")
    parser.add_argument("--sampler", choices=["random", "first_n"], help="how both choose examples; by default as the task does")
    parser.add_argument("--batch-size", type=int, default=8, help="of lm-eval")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each, in turn; times are medians")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    return parser.parse_args()


def theirs(lm, options: argparse.Namespace, name: str, limit: int | None) -> tuple[dict, float]:
    """lm-eval's results of a task, and the seconds they took."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(options.work / "tasks"), include_defaults=False)
    lm.batch_size_per_gpu = 1 if TASKS[name].whole else options.batch_size  # a batch of whole windows takes gigabytes of logits
    start = time.perf_counter()
    results = simple_evaluate(model=lm, tasks=[f"peer_{name}"], task_manager=manager, limit=limit, bootstrap_iters=100, log_samples=True,
                              verbosity="ERROR")
    return results, time.perf_counter() - start


def ours(options: argparse.Namespace, name: str, limit: int | None) -> tuple[dict, list[dict], float]:
    """coppice's results and samples of a task, and the seconds they took."""
    out = options.work / f"{name}.json"
    command = [options.coppice, "eval", "--model", str(options.model), "--tasks", name, "--data", str(options.data), "--output", str(out),
               "--log-samples", "--overwrite", "--device", "cpu", "--dtype", "f32"]
    command += (["--limit", str(limit)] if limit else []) + (["--sampler", options.sampler] if options.sampler else [])
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    results = json.loads(out.read_text())["tasks"][name] if out.exists() else {}
    if done.returncode not in (0, 1) or "error" in results:
        raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stderr}")
    lines = out.with_suffix(".samples.jsonl").read_text().splitlines()
    return results, [json.loads(line) for line in lines], seconds


def their_items(results: dict, name: str) -> list[dict]:
    """lm-eval's items in order, those of groups by the order of groups in the data; one entry an item for each filter."""
    groups = TASKS[name].groups
    names = [f"peer_{name}_{group}" for group in groups] if groups else [f"peer_{name}"]
    return [sample for task in names for sample in results["samples"][task]]


def compare_items(name: str, found: list[dict], expected: list[dict]) -> dict:
    """How far prompts, log-likelihoods and marks of items are apart."""
    first = expected[0]["filter"]
    by_filter = {}
    for sample in expected:
        by_filter.setdefault(sample["filter"], []).append(sample)
    told = {"items": len(found), "prompts_differ": 0, "largest_difference": 0.0, "largest_logprob": 0.0, "greedy_differ": 0, "marks_differ": 0}
    if len(found) != len(by_filter[first]):
        raise SystemExit(f"{name}: {len(found)} items, lm-eval has {len(by_filter[first])}")
    for place, sample in enumerate(found):
        compare_item(told, sample, {filter: samples[place] for filter, samples in by_filter.items()}, first)
    return told


def compare_item(told: dict, sample: dict, by_filter: dict, first: str) -> None:
    if "error" in sample:
        raise SystemExit(f"an item failed: {sample}")
    peer = by_filter[first]
    requests = list(peer["arguments"].values()) if isinstance(peer["arguments"], dict) else peer["arguments"]
    requests = [tuple(r[k] for k in sorted(r)) if isinstance(r, dict) else tuple(r) for r in requests]
    if "logprobs" in sample:
        scores = [answer[0] for answer in peer["resps"]]
        if "arguments" in sample:
            told["prompts_differ"] += [tuple(pair) for pair in sample["arguments"]] != [request[:2] for request in requests]
            told["greedy_differ"] += sum(ours != bool(str(theirs[1]) == "True") for ours, theirs in zip(sample["greedy"], scores))
            pairs = list(zip(sample["logprobs"], [float(score[0]) for score in scores], strict=True))
        else:
            pairs = [(sum(sample["logprobs"]), float(scores[0] if not isinstance(scores[0], (list, tuple)) else scores[0][0]))]
        told["largest_difference"] = max(told["largest_difference"], *(abs(a - b) for a, b in pairs))
        told["largest_logprob"] = max(told["largest_logprob"], *(abs(b) for _, b in pairs))
    else:
        told["prompts_differ"] += sample["prompt"] != requests[0][0]
        told["texts_differ"] = told.get("texts_differ", 0) + (sample["texts"][0] != peer["resps"][0][0])
    for filter, peer in by_filter.items():
        for metric in ("acc", "acc_norm", "exact_match"):
            key = metric if filter == "none" else f"{metric},{filter}"
            exact = key in sample["marks"]  # mc2 is a share of probability, called acc there: as near as the log-likelihoods are
            mine = sample["marks"].get(key, sample["marks"].get("mc2") if metric == "acc" else None)
            if metric in peer and mine is not None:
                told["marks_differ"] += int(abs(mine - float(peer[metric])) > (1e-9 if exact else 1e-4))


def compare_figures(name: str, found: dict, results: dict) -> dict:
    """Every figure of both, with its standard error."""
    peer = f"peer_{name}"
    expected = results["results"].get(peer) or results["groups"][peer]
    told = {}
    for key, value in expected.items():
        metric, _, filter = key.partition(",")
        if not filter or metric.endswith("_stderr") or metric in ("alias", "name", "sample_len"):
            continue
        ours = metric if filter == "none" else f"{metric},{filter}"
        ours = "mc2" if ours not in found["metrics"] and metric == "acc" else ours
        error = expected.get(f"{metric}_stderr,{filter}")
        figure = found["metrics"].get(ours, {"value": float("nan"), "stderr": None})
        told[ours] = {"coppice": figure["value"], "lm_eval": float(value), "coppice_stderr": figure["stderr"],
                      "lm_eval_stderr": float(error) if isinstance(error, float) else None}
    return told


def near(name: str, figure: dict) -> bool:
    """Shares of right items are the same; what follows from the log-likelihoods themselves is as near as they are."""
    share = name.startswith(("acc", "exact_match"))
    return abs(figure["coppice"] - figure["lm_eval"]) <= (1e-12 if share else 1e-5 * max(1.0, abs(figure["lm_eval"])))


def passed(told: dict, tolerance: float) -> bool:
    """Sums over long documents are held to the same relative tolerance, for f32 keeps seven digits."""
    limit = max(tolerance, told["largest_logprob"] * 1e-6)
    figures = all(near(name, figure) for name, figure in told["figures"].items())
    same = told["prompts_differ"] == told["marks_differ"] == 0
    return bool(told["figures"]) and figures and same and told["largest_difference"] <= limit


def own_stdout():
    """The standard output for results alone: what libraries print goes to standard error."""
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return results


def main() -> None:
    options, out = arguments(), own_stdout()
    options.work.mkdir(parents=True, exist_ok=True)
    import torch
    from lm_eval.models.huggingface import HFLM

    if options.model is None:
        options.model = make_model(options.work / "model", options.tokenizer)
    names = options.tasks.split(",")
    write_tasks(options.work, options.data, names, options.sampler)
    lm = HFLM(pretrained=str(options.model), dtype="float32", device="cpu", batch_size=options.batch_size)
    good, seconds = True, {"coppice": 0.0, "lm_eval": 0.0}
    for name in names:
        limit = TASKS[name].limit(options.limit)
        times = {"coppice": [], "lm_eval": []}
        for _ in range(options.rounds):
            results, took = theirs(lm, options, name, limit)
            times["lm_eval"].append(took)
            found, samples, took = ours(options, name, limit)
            times["coppice"].append(took)
        told = {"task": name, "limit": limit, **compare_items(name, samples, their_items(results, name))}
        told["figures"] = compare_figures(name, found, results)
        told["seconds"] = {who: statistics.median(took) for who, took in times.items()}
        told["passed"] = passed(told, options.tolerance)
        good &= told["passed"]
        seconds = {who: seconds[who] + told["seconds"][who] for who in seconds}
        print(json.dumps(told), file=out, flush=True)
    print(json.dumps({"tasks": len(names), "threads": torch.get_num_threads(), "seconds": seconds,
                      "ratio": seconds["lm_eval"] / seconds["coppice"], "sampler": options.sampler or "of the task", "passed": good}), file=out, flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
