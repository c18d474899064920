"""Expected values of the sampling scores, from LM-Polygraph 0.7, selfcheckgpt 0.1.7 and torch.

Run with Python 3, numpy, scipy, torch, rouge-score 0.1, nltk 3.10, absl-py and, without their dependencies, `lm-polygraph==0.7.0` and
`selfcheckgpt==0.1.7`; writes sampling.json beside this file. The estimators are the packages' own, with two inputs made ours on purpose: ROUGE
without its English stemmer, and n-grams over the tokens and sentences of `Splitter` in place of spaCy's. Their packages' `__init__` files, which
import models and servers, are left unread.
"""

import json
import pathlib
import re
import sys
import types
import warnings

import numpy as np
import torch
from rouge_score import rouge_scorer

RNG = np.random.default_rng(57)
WORDS = "Paris Rome the a of in city capital Italy France lies on river Seine Tiber and is was 1.5 km École don't New-York".split(" ")
ENDS = [".", "!", "?", "…", ".”", ""]


class Splitter:
    """Stands in for spaCy's pipeline: sentences end with . ! ? … before a space and no lower-case letter, or at a line break; tokens are runs of
    letters and digits, or single other characters."""

    def __call__(self, text):
        sentences = re.split(r"\n|(?:(?<=[.!?…])|(?<=[.!?…][”)]))\s+(?=[^a-zé\s])", text)
        found = types.SimpleNamespace(sents=[types.SimpleNamespace(text=s) for s in sentences if s.strip()])
        tokens = [types.SimpleNamespace(text=t) for t in re.findall(r"[^\W_]+|[^\w\s]|_", text)]
        return type("Doc", (), {"sents": found.sents, "__iter__": lambda self: iter(tokens)})()


def without_init(package):
    """Makes a package importable by its modules, its own `__init__` left out."""
    parent, _, name = package.rpartition(".")
    folders = sys.modules[parent].__path__ if parent else sys.path
    module = types.ModuleType(package)
    module.__path__ = [str(folder) for folder in (pathlib.Path(place, name) for place in folders) if folder.is_dir()]
    sys.modules[package] = module


def estimators():
    for package in ("lm_polygraph", "lm_polygraph.estimators", "lm_polygraph.utils", "selfcheckgpt"):
        without_init(package)
    common = types.ModuleType("lm_polygraph.utils.common")
    common.polygraph_module_init = lambda init: init
    sys.modules[common.__name__] = common
    from lm_polygraph.estimators.deg_mat import DegMat
    from lm_polygraph.estimators.eccentricity import Eccentricity
    from lm_polygraph.estimators.eig_val_laplacian import EigValLaplacian
    from lm_polygraph.estimators.eigenscore import EigenScore
    from lm_polygraph.estimators.lexical_similarity import LexicalSimilarity
    from lm_polygraph.estimators.monte_carlo_normalized_sequence_entropy import MonteCarloNormalizedSequenceEntropy
    from lm_polygraph.estimators.monte_carlo_sequence_entropy import MonteCarloSequenceEntropy
    from lm_polygraph.estimators.p_true_sampling import PTrueSampling

    found = {
        "mc_sequence_entropy": MonteCarloSequenceEntropy(),
        "length_normalised_entropy": MonteCarloNormalizedSequenceEntropy(),
        "lexical_similarity": LexicalSimilarity("rougeL"),
        "lexical_similarity_rouge_1": LexicalSimilarity("rouge1"),
        "lexical_similarity_bleu": LexicalSimilarity("BLEU"),
        "degmat": DegMat("Jaccard_score"),
        "eccentricity": Eccentricity("Jaccard_score"),
        "eigval_laplacian": EigValLaplacian("Jaccard_score"),
        "eigenscore_lmp": EigenScore(),
        "p_true_sampling": PTrueSampling(),
    }
    for name in ("lexical_similarity", "lexical_similarity_rouge_1"):
        found[name].scorer = rouge_scorer.RougeScorer([found[name].metric], use_stemmer=False)
    return found


def ngram_scores(record):
    sys.modules["spacy"] = types.SimpleNamespace(load=lambda _: Splitter())
    from selfcheckgpt.modeling_ngram import NgramModel, UnigramModel

    scores = {}
    for n in range(1, 6):
        model = UnigramModel() if n == 1 else NgramModel(n)
        for text in [record["response"]] + [sample["text"] for sample in record["samples"]]:
            model.add(text)
        model.train(k=0)
        sentences = [s.text.strip() for s in Splitter()(record["response"]).sents]
        level = model.evaluate(sentences)["doc_level"]
        name = "selfcheck_ngram" if n == 1 else f"selfcheck_{n}gram"
        scores |= {f"{name}_avg": level["avg_neg_logprob"], f"{name}_max": level["avg_max_neg_logprob"]}
    return scores


def inside(states):
    """INSIDE's score (alibaba/eigenscore, func/metric.py, getEigenScore) in natural logarithms."""
    covariance = torch.cov(torch.tensor(states, dtype=torch.float64)).numpy()
    singular = np.linalg.svd(covariance + 1e-3 * np.eye(len(states)))[1]
    return float(np.mean(np.log10(singular)) * np.log(10))


def sentence():
    words = [str(word) for word in RNG.choice(WORDS, int(RNG.integers(1, 9)))]
    return " ".join([words[0].capitalize()] + words[1:]) + str(RNG.choice(ENDS))


def text():
    return str(RNG.choice([" ", "\n"])).join(sentence() for _ in range(int(RNG.integers(1, 4))))


def sample(words):
    numbers = [[round(float(x), 4) for x in RNG.normal(0, scale, 6)] for scale in (1.0, 3.0)]
    logprobs = [round(float(x), 5) for x in -RNG.exponential(1.0, int(RNG.integers(1, 6)))]
    return {"text": words, "token_logprobs": logprobs, "hidden": [{"layer": 8, "mean": numbers[0], "last": numbers[1]}]}


def record(index):
    pool = [text() for _ in range(int(RNG.integers(1, 7)))] if index % 3 else [sentence() for _ in range(4)]
    samples = [sample(str(words)) for words in RNG.choice(pool, int(RNG.integers(2, 9)))]
    support = [[float(x) for x in RNG.choice([0.0, 0.5, 1.0], len(samples))] for _ in range(3)]
    judged = {"p_true_sampling": round(float(RNG.uniform(0.01, 1.0)), 6), "support": support}
    return {"id": f"s{index}", "prompt": "Where?", "response": str(RNG.choice(pool)), "samples": samples, "judged": judged}


def scores(record, estimators):
    samples = record["samples"]
    stats = {
        "sample_texts": [[sample["text"] for sample in samples]],
        "sample_log_probs": [[sum(sample["token_logprobs"]) for sample in samples]],
        "sample_tokens": [[sample["token_logprobs"] for sample in samples]],
        "sample_embeddings": [[np.array(sample["hidden"][0]["last"], np.float32).astype(float) for sample in samples]],
        "p_true_sampling": [np.log(record["judged"]["p_true_sampling"])],
    }
    found = {name: float(estimator(stats)[0]) for name, estimator in estimators.items()}
    found["eigenscore"] = inside([np.array(sample["hidden"][0]["mean"], np.float32).astype(float) for sample in samples])
    found["selfcheck_prompt"] = float(np.mean([np.mean(row) for row in record["judged"]["support"]]))
    return found | {name: float(value) for name, value in ngram_scores(record).items()}


def main():
    warnings.simplefilter("ignore")
    ours = estimators()
    records = [record(index) for index in range(24)]
    golden = [{"record": r, "scores": scores(r, ours)} for r in records]
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    (pathlib.Path(__file__).parent / "sampling.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
