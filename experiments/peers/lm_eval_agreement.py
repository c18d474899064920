"""Evaluates one small StableLM 2 with coppice and with lm-evaluation-harness on the same rows, and compares row by row.

Usage: `python lm_eval_agreement.py --coppice target/release/coppice [--limit 40] [--tasks arc_easy,mmlu] [--output results.json]`

The rows are those of the folder `COPPICE_DATA`, or `../shared/data` beside the workspace, brought into the form of the public data sets; the
harness runs its own task files on them, with the sampler `first_n`. The model has random weights and a tokenizer trained on the rows. Compared are
the log-probability of every continuation, the figures, the generated texts, and the seconds: of the harness the evaluation alone, model in
memory; of coppice the whole process. Needs `lm-eval==0.4.13`, torch and transformers.
"""

import argparse
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import datasets
import lm_eval
import lm_eval.api.samplers
import lm_eval.api.task
import torch
import transformers
import zstandard
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

DATA = pathlib.Path(os.environ.get("COPPICE_DATA", pathlib.Path(__file__).resolve().parents[3] / "shared" / "data"))
LETTERS = "ABCDEFGH"


def rows(name: str) -> list[dict]:
    path = next(path for path in (DATA / "eval" / f"{name}.jsonl.zst", DATA / "sharealike" / "eval" / f"{name}.jsonl.zst") if path.exists())
    with path.open("rb") as packed:
        return [json.loads(line) for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(packed), encoding="utf-8")]


def lettered(row: dict) -> dict:
    labels = list(LETTERS[: len(row["choices"])])
    choices = {"text": row["choices"], "label": labels}
    return {"id": row["id"], "question": row["question"], "question_stem": row["question"], "choices": choices, "answerKey": labels[row["answer"]]}


def hellaswag(row: dict) -> dict:
    return {"activity_label": row.get("activity_label", "Example"), "ctx_a": row["ctx"], "ctx_b": "", "endings": row["endings"], "label": str(row["label"])}


def mmlu(row: dict) -> dict:
    return {key: row[key] for key in ("subject", "question", "choices", "answer")}


def same(*keys):
    return lambda row: {key: row[key] for key in keys}


# Task: (files of coppice by split and how their rows become those of the public data set, harness tasks, shots, metric pairs).
ARC = {"test": lettered, "train": lettered}
TASKS = {
    "arc_challenge": (ARC, 25, {"acc": "acc,none", "acc_norm": "acc_norm,none"}),
    "arc_easy": (ARC, 0, {"acc": "acc,none", "acc_norm": "acc_norm,none"}),
    "hellaswag": ({"validation": hellaswag, "train_fewshot": hellaswag}, 10, {"acc": "acc,none", "acc_norm": "acc_norm,none"}),
    "mmlu": ({"test": mmlu, "dev": mmlu}, 5, {"acc": "acc,none"}),
    "truthfulqa_mc1": ({"en": same("question", "mc1_targets", "mc2_targets")}, 0, {"acc": "acc,none"}),
    "truthfulqa_mc2": ({"en": same("question", "mc1_targets", "mc2_targets")}, 0, {"mc2": "acc,none"}),
    "winogrande": ({"validation": same("sentence", "option1", "option2", "answer"), "train_xl": same("sentence", "option1", "option2", "answer")}, 5, {"acc": "acc,none"}),
    "lambada_openai": ({"test": lambda row: {"text": f"{row['context']} {row['continuation']}"}}, 0, {"acc": "acc,none", "perplexity": "perplexity,none"}),
    "piqa": ({"validation": same("goal", "sol1", "sol2", "label"), "train": same("goal", "sol1", "sol2", "label")}, 0, {"acc": "acc,none", "acc_norm": "acc_norm,none"}),
    "boolq": ({"validation": lambda row: {"passage": row["passage"], "question": row["question"], "label": int(row["answer"])}}, 0, {"acc": "acc,none"}),
    "openbookqa": ({"test": lettered, "train": lettered}, 0, {"acc": "acc,none", "acc_norm": "acc_norm,none"}),
    "gsm8k": ({"test": same("question", "answer"), "train": same("question", "answer")}, 5, {"exact_match": "exact_match,flexible-extract", "strict_match": "exact_match,strict-match"}),
}
FILES = {"truthfulqa_mc1": "truthfulqa", "truthfulqa_mc2": "truthfulqa"}
SPLITS = {"train_fewshot": "train", "train_xl": "train", "en": "validation", "dev": "dev"}


def converted(task: str, limit: int) -> dict[str, list[dict]]:
    """Rows by split, in the public form. Of MMLU some of every subject, of examples all."""
    found = {}
    for split, convert in TASKS[task][0].items():
        some = [convert(row) for row in rows(f"{FILES.get(task, task)}_{split}")]
        if task == "mmlu" and split == "test":
            subjects = sorted({row["subject"] for row in some})
            some = [row for subject in subjects for row in [row for row in some if row["subject"] == subject][: max(limit // 10, 1)]]
        elif split in ("train", "train_fewshot", "train_xl", "dev"):
            some = some[:2000]
        else:
            some = some[:limit]
        found[split] = some
    return found


def checkpoint(folder: pathlib.Path, texts: list[str], vocabulary: int = 4096) -> None:
    """A StableLM 2 of random weights with a byte-level tokenizer trained on the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet))
    end = tokenizer.token_to_id("<|endoftext|>")
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>").save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.StableLmConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=256, intermediate_size=704, num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=8,
        max_position_embeddings=4096, partial_rotary_factor=0.25, use_qkv_bias=True, initializer_range=0.06, bos_token_id=end, eos_token_id=end,
    )
    transformers.StableLmForCausalLM(config).float().save_pretrained(folder)


def harness(model: HFLM, task: str, found: dict[str, list[dict]], shots: int) -> tuple[dict, list, float]:
    """Figures, and of every row its log-probabilities or text, by lm-evaluation-harness."""
    def load(path=None, name=None, **_):
        wanted = {SPLITS.get(split, split): some for split, some in found.items()}
        if task == "mmlu":
            wanted = {split: [row for row in some if row["subject"] == name] for split, some in wanted.items()}
        return datasets.DatasetDict({split: datasets.Dataset.from_list(some) for split, some in wanted.items()})

    lm_eval.api.task.datasets.load_dataset = load
    names = [f"mmlu_{subject}" for subject in sorted({row["subject"] for row in found["test"]})] if task == "mmlu" else [task]
    lm_eval.api.samplers.SAMPLER_REGISTRY["default"] = lm_eval.api.samplers.FirstNSampler
    start = time.perf_counter()
    told = lm_eval.simple_evaluate(model, tasks=names, num_fewshot=shots, task_manager=TaskManager(), log_samples=True, bootstrap_iters=0)
    seconds = time.perf_counter() - start
    values = []
    for name in names:
        distinct = {sample["doc_id"]: sample for sample in told["samples"][name]}
        for _, sample in sorted(distinct.items()):
            resps = [response[0] for response in sample["resps"]]
            values.append([float(response[0]) if isinstance(response, (tuple, list)) else response for response in resps])
    sizes = {name: len({sample["doc_id"] for sample in told["samples"][name]}) for name in names}
    mean = lambda metric: sum(told["results"][name][metric] * sizes[name] for name in names) / sum(sizes.values())
    return {ours: mean(theirs) for ours, theirs in TASKS[task][2].items()}, values, seconds


def coppice(program: str, model: pathlib.Path, task: str, found: dict[str, list[dict]], shots: int, folder: pathlib.Path) -> tuple[dict, list, float]:
    """The same by coppice."""
    (folder / "eval").mkdir(exist_ok=True)
    for split, some in found.items():
        path = folder / "eval" / f"{FILES.get(task, task)}_{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    output = folder / f"{task}.json"
    command = [*program.split(), "eval", "--model", str(model), "--tasks", task, "--data", str(folder), "--output", str(output), "--log-samples", "--overwrite"]
    start = time.perf_counter()
    subprocess.run([*command, "--shots", str(shots)], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    figures = json.loads(output.read_text())["results"][task]["figures"]
    samples = [json.loads(line) for line in output.with_suffix(".samples.jsonl").read_text().splitlines()]
    told = lambda sample: sample["told"]["logprobs"] if "logprobs" in sample["told"] else [sample["told"]["answer"]["text"]]
    return {name: figure["value"] for name, figure in figures.items()}, [told(sample) for sample in samples], seconds


def compare(task: str, theirs: tuple, ours: tuple) -> dict:
    pairs = [(a, b) for mine, other in zip(ours[1], theirs[1], strict=True) for a, b in zip(mine, other, strict=True)]
    texts = isinstance(pairs[0][0], str)
    differences = [float(a != b) if texts else abs(a - b) for a, b in pairs]
    return {
        "task": task, "rows": len(ours[1]), "compared": len(pairs), "what": "texts that differ" if texts else "log-probabilities, nats",
        "largest_difference": sum(differences) if texts else max(differences), "figures": ours[0], "harness": theirs[0],
        "identical": all(abs(ours[0][name] - value) < 1e-9 * max(1.0, abs(value)) for name, value in theirs[0].items() if name != "perplexity"),
        "seconds": ours[2], "harness_seconds": theirs[2], "ratio": theirs[2] / ours[2],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", required=True)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args()
    tasks = options.tasks.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        found = {task: converted(task, max(options.limit // 8, 2) if task == "gsm8k" else options.limit) for task in tasks}
        checkpoint(folder / "model", [json.dumps(row, ensure_ascii=False) for by_split in found.values() for some in by_split.values() for row in some[:500]])
        model = HFLM(pretrained=str(folder / "model"), device="cpu", dtype="float32", batch_size=options.batch_size)
        compared = []
        for task in tasks:
            shots = TASKS[task][1]
            theirs = harness(model, task, found[task], shots)
            compared.append(compare(task, theirs, coppice(options.coppice, folder / "model", task, found[task], shots, folder)))
            print(json.dumps(compared[-1]), flush=True)
    total = {"seconds": sum(row["seconds"] for row in compared), "harness_seconds": sum(row["harness_seconds"] for row in compared)}
    versions = {"lm_eval": "0.4.13", "torch": torch.__version__, "transformers": transformers.__version__, "threads": torch.get_num_threads()}
    summary = {**total, "ratio": total["harness_seconds"] / total["seconds"], "versions": versions, "command": " ".join(sys.argv[:1] + sys.argv[1:]), "tasks": compared}
    if options.output:
        options.output.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
