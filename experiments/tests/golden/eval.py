"""Writes eval.json and rows.parquet: what lm-eval 0.4.13 makes of small rows on a tiny StableLM 2, which tests/cli/evaluating.rs compares with.

Usage: python eval.py (needs lm_eval==0.4.13, torch, transformers, pyarrow)

Tasks are lm-eval's own files, included by `experiments/peers/lm_eval_tasks.py`; rows are made up here, in the columns of the shared data. The
model's weights follow from their names (`models/tests/golden/weights.py`), its tokenizer is one token a byte.
"""

import json
import os
import pathlib
import random
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2] / "models/tests/golden"), str(HERE.parents[1] / "peers")]

import weights  # noqa: E402
from lm_eval_tasks import TASKS, write_tasks  # noqa: E402

CONTEXT, END = 1200, 256
CONFIG = {"architectures": ["StableLmForCausalLM"], "model_type": "stablelm", "torch_dtype": "float32", "hidden_act": "silu", "vocab_size": 264,
          "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "max_position_embeddings": CONTEXT, "partial_rotary_factor": 0.25, "rope_theta": 10000.0, "layer_norm_eps": 1e-5,
          "use_qkv_bias": True, "tie_word_embeddings": False, "bos_token_id": END, "eos_token_id": END}
WORDS = "amber birch cloud delta ember frost grove heron inlet jetty knoll larch maple north ocean plume quill ridge stone tulip".split()


def phrase(draw: random.Random, most: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, most)))


def questions(draw: random.Random, count: int, choices: int = 4, most: int = 2) -> list[dict]:
    return [{"question": phrase(draw, most), "choices": [phrase(draw, 2) for _ in range(choices)], "answer": draw.randrange(choices)}
            for _ in range(count)]


def files() -> dict[str, list[dict]]:
    """Rows by file; names as in the shared data."""
    draw = random.Random(7)
    arc = [{"id": f"q{place}", **row} for place, row in enumerate(questions(draw, 5))]
    arc[2]["question"] = " ".join(WORDS * 6)  # exceeds the context
    subjects = ("world_religions", "anatomy")
    mmlu = [{"subject": subject, **row} for subject in subjects for row in questions(draw, 3)]
    targets = [{"choices": [phrase(draw, 3) for _ in range(4)], "labels": [1, 1, 0, 0]} for _ in range(3)]
    return {
        "sharealike/eval/arc_challenge_test": arc,
        "sharealike/eval/arc_challenge_train": questions(draw, 30, most=1),
        "eval/mmlu_test": mmlu,
        "eval/mmlu_dev": [{"subject": subject, **row} for subject in reversed(subjects) for row in questions(draw, 6, most=1)],
        "eval/truthfulqa_en": [{"question": phrase(draw, 3), "mc1_targets": {**told, "labels": [1, 0, 0, 0]}, "mc2_targets": told} for told in targets],
        "eval/winogrande_validation": [{"sentence": f"{phrase(draw, 2)} _ {phrase(draw, 3)}.", "option1": phrase(draw, 1), "option2": phrase(draw, 1),
                                        "answer": draw.choice("12")} for _ in range(4)],
        "eval/winogrande_train_xl": [{"sentence": f"_ {phrase(draw, 2)}", "option1": phrase(draw, 1), "option2": phrase(draw, 1),
                                      "answer": draw.choice("12")} for _ in range(40)],
        "eval/hellaswag_validation": [{"activity_label": phrase(draw, 1), "ctx": phrase(draw, 4), "label": draw.randrange(4),
                                       "endings": [f"{phrase(draw, 2)} [x] {phrase(draw, 2)}." for _ in range(4)]} for _ in range(3)],
        "eval/hellaswag_train_fewshot": [{"ctx": phrase(draw, 2), "endings": [phrase(draw, 1) for _ in range(4)], "label": draw.randrange(4)}
                                         for _ in range(13)],
        "eval/lambada_openai_test": [{"context": phrase(draw, 8), "continuation": draw.choice(WORDS)} for _ in range(4)],
        "corpus/small/small-en-valid": [{"text": "".join(f"{phrase(draw, 9)}.\n" for _ in range(count))} for count in (1, 60)],
        "sharealike/eval/nq_open_dev": [{"question": phrase(draw, 4), "answer": [phrase(draw, 1), "x"]} for _ in range(3)],
        "eval/gsm8k_test": [{"question": phrase(draw, 4), "answer": f"{phrase(draw, 2)}\n#### 7"} for _ in range(2)],
        "eval/gsm8k_train": [{"question": phrase(draw, 2), "answer": f"{phrase(draw, 1)}\n#### {n}"} for n in range(9)],
    }


NAMES = ["arc_challenge", "mmlu", "truthfulqa_mc1", "truthfulqa_mc2", "winogrande", "hellaswag", "lambada_openai", "documents", "nq_open", "gsm8k"]


def tokenizer(folder: pathlib.Path) -> None:
    """One token a byte, and the end of text, as tests/cli/support/tokenizer.rs writes it."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {letter: byte for byte, letter in bytes_to_unicode().items()} | {token: END + place for place, token in enumerate(special)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = [{"id": END + place, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for place, token in enumerate(special)]
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None, "added_tokens": added,
        "pre_tokenizer": level, "decoder": {**level, "add_prefix_space": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary, "merges": []}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": special[0], "bos_token": special[0], "pad_token": special[0],
        "clean_up_tokenization_spaces": False}))


def model(folder: pathlib.Path) -> dict:
    """Writes the checkpoint; returns how its tensors are made."""
    from safetensors.torch import save_file
    from transformers import StableLmConfig, StableLmForCausalLM

    shapes = {name: list(tensor.shape) for name, tensor in StableLmForCausalLM(StableLmConfig(**CONFIG)).state_dict().items()}
    recipes = {name: weights.recipe(name, shape) for name, shape in shapes.items()}
    save_file({name: weights.tensor(name, **recipe) for name, recipe in recipes.items()}, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return recipes


def evaluate(lm, work: pathlib.Path, name: str) -> dict:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(work / "tasks"), include_defaults=False)
    results = simple_evaluate(model=lm, tasks=[f"peer_{name}"], task_manager=manager, bootstrap_iters=2, log_samples=True, verbosity="ERROR")
    tasks = [f"peer_{name}_{group}" for group in TASKS[name].groups] or [f"peer_{name}"]
    items = [sample for task in tasks for sample in results["samples"][task] if sample["filter"] == results["samples"][task][0]["filter"]]
    figures = results["results"].get(f"peer_{name}") or results["groups"][f"peer_{name}"]
    return {"figures": {key: value for key, value in figures.items() if "," in key and isinstance(value, float)},
            "items": [answers(sample["resps"]) for sample in items]}


def answers(responses: list) -> list:
    """[log-probability, greedy] of every request, or the text, or the log-probability of a document."""
    first = responses[0][0]
    if isinstance(first, str):
        return [first]
    if isinstance(first, float):
        return [first]
    return [[float(score[0]), str(score[1]) == "True"] for score, in responses]


def parquet() -> None:
    """Rows in the original columns of ARC, packed with Snappy in two row groups."""
    import pyarrow
    import pyarrow.parquet

    rows = [{"id": row["id"], "question": row["question"], "choices": {"text": row["choices"], "label": list("ABCD")},
             "answerKey": "ABCD"[row["answer"]]} for row in files()["sharealike/eval/arc_challenge_test"]]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), HERE / "rows.parquet", compression="snappy", row_group_size=3)


def main() -> None:
    from lm_eval.models.huggingface import HFLM

    with tempfile.TemporaryDirectory() as place:
        work = pathlib.Path(place)
        for name, rows in files().items():
            (work / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (work / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (work / "model").mkdir()
        tokenizer(work / "model")
        tensors = model(work / "model")
        write_tasks(work, work / "data", NAMES, None)
        lm = HFLM(pretrained=str(work / "model"), dtype="float32", device="cpu", batch_size=4)
        tasks = {name: evaluate(lm, work, name) for name in NAMES}
    parquet()
    golden = {"config": CONFIG, "tensors": tensors, "files": files(), "tasks": tasks}
    (HERE / "eval.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
