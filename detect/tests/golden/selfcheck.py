"""Expected values of SelfCheckGPT's protocol from scikit-learn and scipy, on made-up passages with tied scores.

Run with Python 3, numpy, scipy and scikit-learn; writes selfcheck.json beside this file.
"""

import json
import pathlib

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import auc, precision_recall_curve

RNG = np.random.default_rng(3)


def passage():
    grades = np.ones(4) if RNG.random() < 0.1 else RNG.choice([0.0, 0.5, 1.0], int(RNG.integers(2, 9)))
    scores = np.round(grades + RNG.normal(0, 0.8, len(grades)), 1)
    return {"grades": grades.tolist(), "scores": scores.tolist(), "whole": round(float(scores.mean()), 1)}


def area(passages, positive, sign):
    precision, recall, _ = precision_recall_curve(
        [positive(g) for p in passages for g in p["grades"]], [sign * s for p in passages for s in p["scores"]]
    )
    return auc(recall, precision)


def main():
    passages = [passage() for _ in range(40)]
    partly = [p for p in passages if np.mean(p["grades"]) < 0.99]
    means, wholes = [np.mean(p["grades"]) for p in passages], [p["whole"] for p in passages]
    assert len(partly) < len(passages)
    expected = {
        "non_fact": area(passages, lambda grade: grade > 0.499, 1),
        "non_fact_star": area(partly, lambda grade: grade > 0.99, 1),
        "factual": area(passages, lambda grade: grade < 0.499, -1),
        "pearson": pearsonr(wholes, means)[0],
        "spearman": spearmanr(wholes, means)[0],
    }
    text = json.dumps({"passages": passages, "expected": expected}, separators=(",", ":"), default=float)
    (pathlib.Path(__file__).parent / "selfcheck.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
