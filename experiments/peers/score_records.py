"""Times the scores that need no second model on the same records: coppice, LM-Polygraph 0.7 and uqlm 0.6, one after the other; prints the ratios.

Usage: `python score_records.py --coppice "target/release/coppice detect score" [--records 1000] [--rounds 3] [--whole]`

Records are ten answers a prompt, drawn with a seed: sentences (with `--whole`, all) of the passages and samples of the WikiBio set of SelfCheckGPT in
the folder `COPPICE_DATA`, or `../shared/data` beside the workspace, or of made-up words where neither is there; token traces are made up. coppice's
seconds are those of the whole subprocess, from its start over reading and parsing the file to the last verdict written. The peers' are those of their
own estimators alone, on texts and arrays that are already in memory; ROUGE runs without its stemmer, which is faster and gives coppice's values.
Values are compared, so that the same work is timed; `cpu_ratio` is the ratio of processor time, of all threads. `--coppice` is any command that takes `--input`, `--output` and `--scores`.

Needs numpy, scipy, torch, rouge-score, nltk, absl-py, zstandard for the shared data, and without their dependencies `lm-polygraph==0.7.0` and
`uqlm==0.6.7`; of these two the modules of the scores alone are imported, not what loads models or calls servers.
"""

import argparse
import functools
import importlib
import json
import os
import pathlib
import random
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import types
import warnings

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
LM_POLYGRAPH = {
    "msp": ("max_probability", "MaximumSequenceProbability", ()),
    "perplexity": ("perplexity", "Perplexity", ()),
    "mean_token_entropy": ("token_entropy", "MeanTokenEntropy", ()),
    "mc_sequence_entropy": ("monte_carlo_sequence_entropy", "MonteCarloSequenceEntropy", ()),
    "length_normalised_entropy": ("monte_carlo_normalized_sequence_entropy", "MonteCarloNormalizedSequenceEntropy", ()),
    "lexical_similarity": ("lexical_similarity", "LexicalSimilarity", ("rougeL",)),
    "lexical_similarity_rouge_1": ("lexical_similarity", "LexicalSimilarity", ("rouge1",)),
    "lexical_similarity_bleu": ("lexical_similarity", "LexicalSimilarity", ("BLEU",)),
    "degmat": ("deg_mat", "DegMat", ("Jaccard_score",)),
    "eccentricity": ("eccentricity", "Eccentricity", ("Jaccard_score",)),
    "eigval_laplacian": ("eig_val_laplacian", "EigValLaplacian", ("Jaccard_score",)),
}
UQLM = ["exact_match_rate", "perplexity", "msp"]


def without_init(package):
    """Makes a package importable by its modules, its own `__init__` left out."""
    parent, _, name = package.rpartition(".")
    folders = sys.modules[parent].__path__ if parent else sys.path
    module = types.ModuleType(package)
    module.__path__ = [str(folder) for folder in (pathlib.Path(place, name) for place in folders) if folder.is_dir()]
    sys.modules[package] = module


def lm_polygraph_estimators():
    for package in ("lm_polygraph", "lm_polygraph.estimators", "lm_polygraph.utils"):
        without_init(package)
    common = types.ModuleType("lm_polygraph.utils.common")
    common.polygraph_module_init = lambda init: init
    sys.modules[common.__name__] = common
    from rouge_score import rouge_scorer

    found = {}
    for score, (module, name, arguments) in LM_POLYGRAPH.items():
        found[score] = getattr(importlib.import_module(f"lm_polygraph.estimators.{module}"), name)(*arguments)
        if arguments and arguments[0].startswith("rouge"):
            found[score].scorer = rouge_scorer.RougeScorer([arguments[0]], use_stemmer=False)
    return found


def uqlm_scorers():
    for package in ("uqlm", "uqlm.black_box", "uqlm.black_box.baseclass", "uqlm.white_box", "uqlm.white_box.baseclass"):
        without_init(package)
    from uqlm.black_box.match import MatchScorer
    from uqlm.white_box.single_logprobs import SingleLogprobsScorer

    whole = SingleLogprobsScorer(["sequence_probability"], length_normalize=False)
    return MatchScorer(), SingleLogprobsScorer(["sequence_probability"]), whole


def passages():
    """Lists of sentences of one answer, ten and one a prompt."""
    folder = pathlib.Path(os.environ.get("COPPICE_DATA", ROOT.parent / "shared" / "data"))
    file = folder / "sharealike" / "hallucination" / "selfcheck_wikibio_119.jsonl.zst"
    if not file.exists():
        print(f"no {file}: words are made up", file=sys.stderr)
        words = [f"word{n}" for n in range(400)]
        rng = random.Random(1)
        return [[" ".join(rng.choices(words, k=160)) for _ in range(11)] for _ in range(80)]
    import zstandard

    lines = zstandard.ZstdDecompressor().stream_reader(file.open("rb")).read().decode().splitlines()
    rows = [json.loads(line) for line in lines]
    return [[row["passage"]] + row["samples"][:10] for row in rows]


def answer(text, whole, rng):
    if not whole:
        sentences = [s for s in text.replace("\n", " ").split(". ") if s.strip()]
        text = rng.choice(sentences[:3]) + "."
    count = len(text.split()) * 4 // 3 + 1
    return text, [round(-rng.expovariate(1.0), 6) for _ in range(count)], [round(rng.expovariate(0.7), 6) for _ in range(count)]


def record(index, texts, whole, rng):
    (response, logprobs, entropies), *samples = [answer(text, whole, rng) for text in texts]
    keys = ("text", "token_logprobs", "token_entropies")
    found = {"id": f"r{index}", "prompt": "Who?", "response": response, "token_logprobs": logprobs, "token_entropies": entropies}
    return found | {"samples": [dict(zip(keys, sample)) for sample in samples]}


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def cpu_seconds():
    """Of this process, and of those it has waited for: what other programs on the machine do not lengthen much."""
    own, children = os.times(), resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([own.user + own.system, children.ru_utime + children.ru_stime])


def coppice(command, path, scores):
    """Seconds of the whole subprocess, and the values of its verdicts."""
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / "verdicts.jsonl"
        call = [*shlex.split(command), "--input", path, "--output", output] + (["--scores", ",".join(scores)] if scores else [])
        seconds, _ = timed(lambda: subprocess.run(call, check=True, capture_output=True))
        return seconds, [json.loads(line)["scores"] for line in output.open()]


def lm_polygraph(records):
    """What computes each score of all records, ready to run."""
    stats = {
        "greedy_log_likelihoods": [np.array(r["token_logprobs"]) for r in records],
        "entropy": [r["token_entropies"] for r in records],
        "sample_texts": [[s["text"] for s in r["samples"]] for r in records],
        "sample_log_probs": [[sum(s["token_logprobs"]) for s in r["samples"]] for r in records],
        "sample_tokens": [[s["token_logprobs"] for s in r["samples"]] for r in records],
    }
    return {name: functools.partial(estimator, stats) for name, estimator in lm_polygraph_estimators().items()}


def uqlm(records):
    """As `lm_polygraph`."""
    match, per_token, whole = uqlm_scorers()
    responses, samples = [r["response"] for r in records], [[s["text"] for s in r["samples"]] for r in records]
    logprobs = [[{"logprob": x} for x in r["token_logprobs"]] for r in records]
    return {
        "exact_match_rate": lambda: 1 - np.array(match.evaluate(responses, samples)),
        "perplexity": lambda: -np.log(per_token.evaluate(logprobs)["sequence_probability"]),
        "msp": lambda: -np.log(whole.evaluate(logprobs)["sequence_probability"]),
    }


def check(records, ours, theirs):
    """Same values on the records in ASCII: rouge_score takes other letters for spaces, coppice does not."""
    plain = [all(s["text"].isascii() for s in r["samples"]) for r in records]
    for name, values in theirs.items():
        difference = np.max(np.abs(np.array([verdict[name] for verdict in ours]) - values)[plain])
        assert difference < 1e-6, f"{name} differs by {difference}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", required=True)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--whole", action="store_true", help="whole passages of some 150 words instead of sentences")
    parser.add_argument("--keep", help="also write the records to this file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rng, texts = random.Random(options.seed), passages()
    records = [record(index, texts[index % len(texts)], options.whole, rng) for index in range(options.records)]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(r, ensure_ascii=False) + "\n" for r in records)
        file.flush()
        if options.keep:
            pathlib.Path(options.keep).write_bytes(pathlib.Path(file.name).read_bytes())
        everything = statistics.median(coppice(options.coppice, file.name, None)[0] for _ in range(options.rounds))
        reading, _ = timed(lambda: [json.loads(line) for line in open(file.name, encoding="utf-8")])
        size = {"records": options.records, "megabytes": os.path.getsize(file.name) / 1e6, "seconds_of_json_loads": reading}
        print(json.dumps(size | {"coppice_all_scores": everything}))
        for peer, scores, theirs in (("lm-polygraph", list(LM_POLYGRAPH), lm_polygraph), ("uqlm", UQLM, uqlm)):
            work, before = theirs(records), cpu_seconds()
            rounds = [coppice(options.coppice, file.name, scores) for _ in range(options.rounds)]
            between = cpu_seconds()
            results = {name: timed(compute) for name, compute in work.items()}
            cpu_ratio = (cpu_seconds() - between)[0] / ((between - before)[1] / options.rounds)
            check(records, rounds[0][1], {name: values for name, (_, values) in results.items()})
            seconds = {name: seconds for name, (seconds, _) in results.items()}
            ours, total = statistics.median(s for s, _ in rounds), sum(seconds.values())
            row = {"peer": peer, "scores": len(scores), "coppice": ours, "theirs": total, "ratio": total / ours, "cpu_ratio": cpu_ratio}
            print(json.dumps(row | {"ratio_if_ours_are_all": total / everything, "theirs_by_score": seconds}))


if __name__ == "__main__":
    main()
