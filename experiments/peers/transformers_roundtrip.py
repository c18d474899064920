"""Holds transformers against Coppice on upcycled checkpoints: as converted, and after a training step in transformers.

Usage: `python transformers_roundtrip.py --coppice target/release/coppice --model DENSE_DIR --work DIR [--method "copy --experts 4"]...`

For each method: `coppice upcycle`; log-probabilities and entropies of fixed random sequences and a greedy continuation by both; one AdamW
step in transformers with labels; `save_pretrained`; the same comparison on the saved folder. Both compute in f32. Where the checkpoint has
a tokenizer the continuation is of a text too, else of token ids alone. Prints one JSON line a method: the largest differences in nats
before and after the step, and how far the step moved a log-probability. `greedy` is by how much transformers prefers its own token where
the two first part, 0 where they never do. Exits with 1 if a difference is above `--tolerance` or a text differs. `DENSE_DIR` should be
small: the step takes 16 bytes a parameter of the mixture. Needs torch and transformers.
"""

import argparse
import json
import pathlib
import shlex
import subprocess
import sys

import torch
import transformers

METHODS = ["copy", "virtual_group --granularity 2", "shared_expert", "drop"]
SIZES = ["--experts", "8", "--top-k", "2"]
LENGTHS = [2, 17, 120]
PROMPT = "The capital of France is"
NEW_TOKENS = 16


def coppice(options: argparse.Namespace, command: str, folder: pathlib.Path, *rest: str) -> str:
    """Runs a command on a checkpoint folder and returns what it prints."""
    line = [options.coppice, command, "--model", str(folder), *rest]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{shlex.join(line)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def upcycle(options: argparse.Namespace, method: str, folder: pathlib.Path) -> None:
    name, *flags = shlex.split(method)
    sizes = [part for pair in zip(SIZES[::2], SIZES[1::2]) if pair[0] not in flags for part in pair]
    gate = ["--gate", options.gate] if options.gate else []
    coppice(options, "upcycle", pathlib.Path(options.model), "--output", str(folder), "--method", name, *sizes, *gate, *flags,
            "--no-report", "--overwrite")


def sequences(config) -> list[list[int]]:
    """Random ids of every length that the model can take, the same each time."""
    generator = torch.Generator().manual_seed(0)
    lengths = [min(length, config.max_position_embeddings) for length in LENGTHS]
    return [torch.randint(config.vocab_size, (length,), generator=generator).tolist() for length in lengths]


def scored_by_coppice(options: argparse.Namespace, folder: pathlib.Path, ids: list[list[int]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Log-probabilities and entropies of each sequence's tokens from the second on."""
    asked, told = (folder.parent / f"{folder.name}.{name}.jsonl" for name in ("sequences", "scores"))
    asked.write_text("".join(json.dumps({"id": str(place), "tokens": row}) + "\n" for place, row in enumerate(ids)))
    coppice(options, "score", folder, "--dtype", "f32", "--input", str(asked), "--output", str(told), "--overwrite")
    rows = [json.loads(line) for line in told.read_text().splitlines()]
    return [(torch.tensor(row["token_logprobs"][1:]), torch.tensor(row["entropies"][1:])) for row in rows]


@torch.no_grad()
def scored_by_transformers(model, ids: list[list[int]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [scored(model(input_ids=torch.tensor([row])).logits[0, :-1], row[1:]) for row in ids]


def scored(logits: torch.Tensor, targets: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    logprobs = torch.log_softmax(logits.float(), -1)
    return logprobs.gather(1, torch.tensor(targets).view(-1, 1)).view(-1), -(logprobs.exp() * logprobs).sum(-1)


def farthest(one: list[tuple], other: list[tuple], place: int) -> float:
    """The largest difference of log-probabilities (place 0) or entropies (place 1)."""
    return max(float((a[place] - b[place]).abs().max()) for a, b in zip(one, other))


@torch.no_grad()
def greedy(options: argparse.Namespace, folder: pathlib.Path, model, prompt: list[int], asked: list[str], unused: list[int]):
    """Coppice's record of a greedy continuation, and how much transformers prefers its own token where the two first part."""
    flags = ["--dtype", "f32", "--max-new-tokens", str(NEW_TOKENS), "--temperature", "0", "--ignore-eos", "--json"]
    record = json.loads(coppice(options, "generate", folder, *asked, *flags))
    ids, ours = torch.tensor([prompt]), record["tokens"]
    model.generation_config.eos_token_id = None
    suppressed = {"suppress_tokens": unused} if unused else {}
    whole = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0,
                           **suppressed)
    theirs = whole[0, len(prompt):].tolist()
    parts = [place for place, (a, b) in enumerate(zip(ours, theirs)) if a != b]
    if not parts:
        return record, 0.0 if len(ours) == len(theirs) else float("inf")
    logits = model(input_ids=whole[:, : len(prompt) + parts[0]]).logits[0, -1]
    return record, float(logits[theirs[parts[0]]] - logits[ours[parts[0]]])


def continued(options: argparse.Namespace, folder: pathlib.Path, model, tokenizer) -> dict:
    """Greedy continuations of ids, and of a text where there is a tokenizer."""
    unused = unused_ids(tokenizer, model.config.vocab_size) if tokenizer else []
    ids = sequences(model.config)[1][:9]
    _, gap = greedy(options, folder, model, ids, ["--tokens", ",".join(map(str, ids))], unused)
    if tokenizer is None:
        return {"greedy": gap}
    prompt = tokenizer(PROMPT, add_special_tokens=False).input_ids
    record, text_gap = greedy(options, folder, model, prompt, ["--prompt", PROMPT], unused)
    text = tokenizer.decode(record["tokens"], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return {"greedy": max(gap, text_gap), "same_text": text == record["response"]}


def unused_ids(tokenizer, vocabulary: int) -> list[int]:
    """Ids that no text has; Coppice never generates them."""
    known = {place for token, place in tokenizer.get_vocab().items() if not token.startswith("<|unused")}
    return [place for place in range(vocabulary) if place not in known]


def compare(options: argparse.Namespace, folder: pathlib.Path) -> tuple[dict, list, object]:
    """The differences on one folder, transformers' scores, and its model."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True) if has_tokenizer(folder) else None
    ids = sequences(model.config)
    ours, theirs = scored_by_coppice(options, folder, ids), scored_by_transformers(model, ids)
    found = {"logprob": farthest(ours, theirs, 0), "entropy": farthest(ours, theirs, 1)}
    if not model.config.gate.startswith("expert_choice"):  # not causal, so it does not continue texts
        found |= continued(options, folder, model, tokenizer)
    return found, theirs, model


def has_tokenizer(folder: pathlib.Path) -> bool:
    return (folder / "tokenizer.json").exists()


def train(model) -> None:
    """One AdamW step on the sequences."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for row in sequences(model.config):
        ids = torch.tensor([row])
        model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    model.eval()


def roundtrip(options: argparse.Namespace, method: str) -> dict:
    """One method's line."""
    folder = options.work / shlex.split(method)[0]
    trained = folder.with_name(f"{folder.name}-trained")
    upcycle(options, method, folder)
    before, scores, model = compare(options, folder)
    train(model)
    model.save_pretrained(trained)
    if has_tokenizer(folder):
        transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True).save_pretrained(trained)
    after, moved, _ = compare(options, trained)
    return {"method": method, "before": before, "after": after, "moved": farthest(scores, moved, 0),
            "passed": all(passed(part, options.tolerance) for part in (before, after))}


def passed(found: dict, tolerance: float) -> bool:
    return found.get("same_text", True) and all(value <= tolerance for name, value in found.items() if name != "same_text")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", required=True)
    parser.add_argument("--model", required=True, help="dense checkpoint folder")
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--method", action="append", help=f"a method and its flags in one word; default: {', '.join(METHODS)}")
    parser.add_argument("--gate")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    failed = False
    for method in options.method or METHODS:
        line = roundtrip(options, method)
        print(json.dumps(line), flush=True)
        failed |= not line["passed"]
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
