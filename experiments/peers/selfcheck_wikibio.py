"""selfcheckgpt's own n-gram models, and scikit-learn's and scipy's measures, on the WikiBio passages of the shared data.

    python selfcheck_wikibio.py DATA RESULTS.json RESULTS.md

Takes what `cargo run --release -p coppice-detect --example public_data DATA RESULTS.json RESULTS.md` wrote, fails unless the measures of the
scores recorded with the data agree to 1e-9, and appends a table of both programs to RESULTS.md. Needs `pip install --no-deps
selfcheckgpt==0.1.7`, spacy, zstandard, scikit-learn and scipy. spaCy's blank English pipeline stands in for en_core_web_sm: the same rules make
the tokens; sentences, which only pad n-grams, come from its sentencizer.
"""

import importlib.metadata
import importlib.util
import io
import json
import pathlib
import sys
import types

import numpy as np
import spacy
import zstandard
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import auc, precision_recall_curve

GRADES = {"accurate": 0.0, "minor_inaccurate": 0.5, "major_inaccurate": 1.0}
NAMES = ["NonFact", "NonFact*", "Factual", "Pearson", "Spearman"]


def ngrams(sequence, n, pad_left=False, left_pad_symbol=None):
    """nltk.util.ngrams as far as it is called, so that nltk need not be installed."""
    padded = [left_pad_symbol] * (n - 1) + list(sequence)
    return [tuple(padded[i : i + n]) for i in range(len(padded) - n + 1)]


def modeling_ngram():
    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    spacy.load = lambda name: pipeline
    sys.modules["nltk"] = types.ModuleType("nltk")
    sys.modules["nltk.util"] = types.ModuleType("nltk.util")
    sys.modules["nltk.util"].ngrams = ngrams
    path = importlib.metadata.distribution("selfcheckgpt").locate_file("selfcheckgpt/modeling_ngram.py")
    spec = importlib.util.spec_from_file_location("modeling_ngram", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(data):
    packed = (pathlib.Path(data) / "sharealike/hallucination/selfcheck_wikibio_119.jsonl.zst").read_bytes()
    reader = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(io.BytesIO(packed))
    return [json.loads(line) for line in io.TextIOWrapper(reader, "utf-8")]


def protocol(grades, scores, wholes):
    """The measures of the paper's notebooks; areas by the trapezoid rule."""

    def area(positive, values):
        precision, recall, _ = precision_recall_curve(positive, values)
        return auc(recall, precision)

    means = [np.mean(g) for g in grades]
    partly = [i for i, mean in enumerate(means) if mean < 0.99]
    grade, score = np.concatenate(grades), np.concatenate(scores)
    star = area(np.concatenate([grades[i] for i in partly]) > 0.99, np.concatenate([scores[i] for i in partly]))
    areas = [area(grade > 0.499, score), star, area(grade < 0.499, -score)]
    return areas + [float(pearsonr(wholes, means)[0]), float(spearmanr(wholes, means)[0])]


def in_order(values):
    """The mean, summed in order: numpy sums in blocks, and a rank correlation sees the last bit where passages are tied."""
    return np.add.accumulate(values)[-1] / len(values)


def unigram(row, module):
    model = module.UnigramModel()
    for text in [row["passage"]] + row["samples"]:
        model.add(text)
    model.train(k=0)
    return model.evaluate(row["sentences"])


def measured(data):
    passages, module = rows(data), modeling_ngram()
    grades = [np.array([GRADES[a] for a in row["annotation"]]) for row in passages]
    found = {}
    for name in ["bert", "nli", "prompt"]:
        scores = [np.array(row["baseline_scores"][name]) for row in passages]
        found[f"recorded_{name}"] = protocol(grades, scores, [in_order(s) for s in scores])
    evaluated = [unigram(row, module) for row in passages]
    for name, sentence, whole in [("max", "max_neg_logprob", "avg_max_neg_logprob"), ("avg", "avg_neg_logprob", "avg_neg_logprob")]:
        scores = [np.array(e["sent_level"][sentence]) for e in evaluated]
        found[f"selfcheck_ngram_{name}"] = protocol(grades, scores, [e["doc_level"][whole] for e in evaluated])
    return found


def ours(results):
    of = lambda m: [m["non_fact"]["auc_pr"], m["non_fact_star"]["auc_pr"], m["factual"]["auc_pr"], m["pearson"], m["spearman"]]
    return {row["score"]: of(row["measured"]) for row in json.loads(pathlib.Path(results).read_text())["selfcheck_wikibio"]}


def main():
    data, results, tables = sys.argv[1:]
    theirs, own = measured(data), ours(results)
    for name in ["recorded_bert", "recorded_nli", "recorded_prompt"]:
        assert np.allclose(theirs[name], own[name], rtol=0, atol=1e-9), (name, theirs[name], own[name])
    lines = ["", "## Beside selfcheckgpt 0.1.7 on the same rows", ""]
    lines += ["Coppice / selfcheckgpt's UnigramModel on spaCy's tokens, measured by scikit-learn and scipy, in %. On the recorded scores, which need no"]
    lines += ["tokens, the two agree to 1e-9.", "", f"| score | {' | '.join(NAMES)} |", "|---" * 6 + "|"]
    for name in ["selfcheck_ngram_max", "selfcheck_ngram_avg"]:
        lines.append(f"| `{name}` | " + " | ".join(f"{100 * a:.1f} / {100 * b:.1f}" for a, b in zip(own[name], theirs[name])) + " |")
    with open(tables, "a") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
