"""lm-eval's own task files over local rows, for `lm_eval_agreement.py`: converters from the shared data to the columns of the original sets."""

import dataclasses
import io
import json
import pathlib
import re
from collections.abc import Callable

LETTERS = "ABCDEFGHIJ"
NUMBERED = {"arc": "question", "openbookqa": "question_stem", "commonsense_qa": "question"}


@dataclasses.dataclass
class Peer:
    """A task: lm-eval's file, our files of items and examples, the splits they stand for, the converter, keys that go over those of the file."""

    file: str | None
    items: str
    split: str
    convert: Callable[[dict], dict] = lambda row: row
    examples: str | None = None
    example_split: str = "train"
    over: dict = dataclasses.field(default_factory=dict)
    share: int = 1
    most: int | None = None
    group_by: str | None = None
    group_file: str | None = None
    group_keys: Callable[[str], dict] = lambda group: {}
    groups: list[str] = dataclasses.field(default_factory=list)
    whole: bool = False  # whether whole documents are scored

    def limit(self, asked: int) -> int | None:
        limit = max(1, asked // self.share)
        return min(limit, self.most) if self.most else limit


def lettered(stem: str) -> Callable[[dict], dict]:
    """A question whose right choice is a number here and a letter there."""
    def convert(row: dict) -> dict:
        labels = list(LETTERS[:len(row["choices"])])
        return {stem: row["question"], "choices": {"text": row["choices"], "label": labels}, "answerKey": labels[row["answer"]]}
    return convert


def hellaswag(row: dict) -> dict:
    """lm-eval's own cleaning; the rows of examples here have no activity label."""
    from lm_eval.tasks.hellaswag.utils import preprocess

    named = f"{row['activity_label']}: " if "activity_label" in row else ""
    return {"query": preprocess(named + row["ctx"]), "choices": [preprocess(ending) for ending in row["endings"]], "label": str(row["label"])}


def truthfulqa(row: dict) -> dict:
    return {key: row[key] for key in ("question", "mc1_targets", "mc2_targets")}


def peers() -> dict[str, Peer]:
    free = {"training_split": None, "validation_split": None, "test_split": None, "fewshot_split": None}
    arc = {"convert": lettered("question"), "split": "test"}
    tasks = {
        "arc_challenge": Peer("arc/arc_challenge.yaml", "sharealike/eval/arc_challenge_test", examples="sharealike/eval/arc_challenge_train",
                              over={"num_fewshot": 25}, share=2, **arc),
        "arc_easy": Peer("arc/arc_easy.yaml", "sharealike/eval/arc_easy_test", **arc),
        "hellaswag": Peer("hellaswag/hellaswag.yaml", "eval/hellaswag_validation", "validation", hellaswag, "eval/hellaswag_train_fewshot",
                          over={"num_fewshot": 10, "process_docs": None}, share=2),
        "mmlu": Peer(None, "eval/mmlu_test", "test", examples="eval/mmlu_dev", example_split="dev", over={"num_fewshot": 5}, share=50,
                     group_by="subject", group_file="mmlu/default/mmlu_{}.yaml"),
        "truthfulqa_mc1": Peer("truthfulqa/truthfulqa_mc1.yaml", "eval/truthfulqa_en", "validation", truthfulqa),
        "truthfulqa_mc2": Peer("truthfulqa/truthfulqa_mc2.yaml", "eval/truthfulqa_en", "validation", truthfulqa),
        "winogrande": Peer("winogrande/default.yaml", "eval/winogrande_validation", "validation", examples="eval/winogrande_train_xl",
                           over={"num_fewshot": 5}),
        "gsm8k": Peer("gsm8k/gsm8k.yaml", "eval/gsm8k_test", "test", examples="eval/gsm8k_train", most=8),
        "lambada_openai": Peer("lambada/lambada_openai.yaml", "eval/lambada_openai_test", "test",
                               lambda row: {"text": f"{row['context']} {row['continuation']}"}),
        "piqa": Peer("piqa/piqa.yaml", "eval/piqa_validation", "validation"),
        "boolq": Peer("super_glue/boolq/default.yaml", "sharealike/eval/boolq_validation", "validation",
                      lambda row: {**row, "label": int(row["answer"])}),
        "openbookqa": Peer("openbookqa/openbookqa.yaml", "eval/openbookqa_test", "test", lettered("question_stem")),
        "commonsense_qa": Peer("commonsense_qa/default.yaml", "eval/commonsenseqa_validation", "validation", lettered("question")),
        "social_iqa": Peer("siqa/siqa.yaml", "eval/socialiqa_validation", "validation"),
        "xcopa_it": Peer("xcopa/default_it.yaml", "eval/xcopa_it_test", "test"),
        "mgsm": Peer(None, "eval/mgsm", "test", lambda row: {"question": row["question"], "answer": None, "answer_number": row["answer"]},
                     over={"dataset_kwargs": None}, most=2, group_by="lang", group_file="mgsm/direct/mgsm_direct_{}.yaml"),
        "nq_open": Peer("nq_open/nq_open.yaml", "sharealike/eval/nq_open_dev", "validation", most=30),
        "triviaqa": Peer("triviaqa/default.yaml", "eval/triviaqa_3k", "validation",
                         lambda row: {"question": row["question"], "answer": {"aliases": row["aliases"]}}, most=30),
        "documents": Peer(None, "corpus/small/small-en-valid", "test", lambda row: {"text": row["text"]}, most=6, whole=True, over={
            "output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}",
            "metric_list": [{"metric": metric} for metric in ("word_perplexity", "byte_perplexity", "bits_per_byte")]}),
        "wikitext": Peer("wikitext/wikitext.yaml", "sharealike/text/wikitext-2-raw-test", "test", most=3, whole=True),
    }
    for language in ("ca", "es", "eu", "gl"):
        for kind in ("mc1", "mc2"):
            tasks[f"truthfulqa_{kind}_{language}"] = Peer(f"truthfulqa-multi/truthfulqa-multi_{kind}_{language}.yaml",
                                                          f"eval/truthfulqa_{language}", "validation", truthfulqa, share=4)
    for peer in tasks.values():
        peer.over = {**free, f"{split_key(peer.split)}": peer.split, **peer.over}
        if peer.examples:
            peer.over["training_split" if peer.example_split == "train" else "fewshot_split"] = peer.example_split
    return tasks


def split_key(split: str) -> str:
    return {"test": "test_split", "validation": "validation_split"}[split]


TASKS = peers()


def read(data: pathlib.Path, name: str) -> list[dict]:
    """The rows of a shared file; a text is parted into articles at their titles."""
    for ending in (".jsonl.zst", ".jsonl", ".txt.zst"):
        path = data / f"{name}{ending}"
        if path.exists():
            break
    content = path.read_bytes()
    if path.suffix == ".zst":
        import zstandard

        content = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
    if ".txt" in path.name:
        return [{"page": page} for page in re.split(r"(?m)^(?= = [^=\n]*[^=\n] = $)", content.decode()) if page]
    return [json.loads(line) for line in content.decode().split("\n") if line]


def write_tasks(work: pathlib.Path, data: pathlib.Path, names: list[str], sampler: str | None) -> None:
    """Task files `peer_NAME` and their rows."""
    (work / "tasks").mkdir(exist_ok=True)
    (work / "rows").mkdir(exist_ok=True)
    for name in names:
        peer = TASKS[name]
        items, examples = read(data, peer.items), read(data, peer.examples) if peer.examples else []
        if peer.group_by is None:
            write_task(work, name, peer, peer.file, items, examples, sampler, {})
            continue
        peer.groups = list(dict.fromkeys(row[peer.group_by] for row in items))
        for group in peer.groups:
            of = [[row for row in rows if row[peer.group_by] == group] for rows in (items, examples)]
            write_task(work, f"{name}_{group}", peer, peer.group_file.format(group), *of, sampler, {"dataset_name": None})
        metric = "exact_match" if name == "mgsm" else "acc"
        filters = {"filter_list": ["remove_whitespace", "flexible-extract"]} if name == "mgsm" else {}
        group = {"group": f"peer_{name}", "task": [f"peer_{name}_{group}" for group in peer.groups],
                 "aggregate_metric_list": [{"metric": metric, "weight_by_size": True, **filters}]}
        (work / "tasks" / f"peer_{name}.yaml").write_text(json.dumps(group))


def write_task(work, name, peer, file, items, examples, sampler, over) -> None:
    import lm_eval.tasks

    files = {peer.split: write_rows(work / "rows" / f"{name}.jsonl", [peer.convert(row) for row in items])}
    if examples:
        files[peer.example_split] = write_rows(work / "rows" / f"{name}.examples.jsonl", [peer.convert(row) for row in examples])
    task = {**peer.over, "task": f"peer_{name}", "tag": [], "dataset_path": "json", "dataset_name": None, "should_decontaminate": False, **over,
            "dataset_kwargs": {"data_files": files, "cache_dir": str(work / "cache")}}
    if file:
        task["include"] = str(pathlib.Path(lm_eval.tasks.__file__).parent / file)
    if sampler == "first_n" and examples:
        task["fewshot_config"] = {"sampler": "first_n"}
    (work / "tasks" / f"{'' if peer.group_by is None else 'one_'}peer_{name}.yaml").write_text(json.dumps(task))


def write_rows(path: pathlib.Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(path)
