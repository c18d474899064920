"""Expected values of scores, metrics, intervals and calibration, from scikit-learn, scipy and numpy.

Run with Python 3, numpy, scipy and scikit-learn; writes golden.json beside this file. Nothing here shares code with the crate: the scores are
written from their definitions, the metrics are the libraries'.
"""

import functools
import json
import pathlib
import re

import numpy as np
import scipy.stats
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

RNG = np.random.default_rng(20)
ANSWERS = ["Paris", "paris.", "the city of Paris", "Rome", "Lyon, in the south", "city of Lyon", "It is 1.5 km", "It is 15 km", "New York City"]


def logprobs(count):
    return [round(float(x), 6) for x in -RNG.exponential(1.0, count)]


def entropies(count):
    return [round(float(x), 6) for x in RNG.exponential(1.5, count)]


def record(index):
    length = int(RNG.integers(1, 9))
    texts = [str(t) for t in RNG.choice(ANSWERS[: int(RNG.integers(1, 10))], int(RNG.integers(2, 11)))]
    samples = [{"text": text, "token_logprobs": logprobs(int(RNG.integers(1, 6)))} for text in texts]
    return {
        "id": f"r{index}",
        "prompt": "Where?",
        "response": str(RNG.choice(ANSWERS)),
        "tokens": [int(t) for t in RNG.integers(0, 1000, length)],
        "token_logprobs": logprobs(length),
        "token_entropies": entropies(length),
        "samples": samples,
    }


def rouge_l(a, b):
    """F1 of the longest common subsequence of [a-z0-9]+ words, as google-research's rouge_score has it."""
    a, b = (tuple(re.findall("[a-z0-9]+", text.lower())) for text in (a, b))

    @functools.lru_cache(None)
    def common(i, j):
        if i == len(a) or j == len(b):
            return 0
        return 1 + common(i + 1, j + 1) if a[i] == b[j] else max(common(i + 1, j), common(i, j + 1))

    precision, recall = common(0, 0) / len(b), common(0, 0) / len(a)
    return 2 * precision * recall / (precision + recall) if precision else 0.0


def cluster_entropy(record, weights):
    mass = {}
    for sample, weight in zip(record["samples"], weights):
        key = sample["text"].lower().strip(".").removeprefix("the ")
        mass[key] = mass.get(key, 0.0) + weight
    return float(scipy.stats.entropy(list(mass.values())))


def scores(record):
    texts = [sample["text"] for sample in record["samples"]]
    pairs = [rouge_l(a, b) for i, a in enumerate(texts) for b in texts[i + 1 :]]
    return {
        "msp": -float(np.log(np.prod(np.exp(record["token_logprobs"])))),
        "perplexity": -float(np.mean(record["token_logprobs"])),
        "mean_token_entropy": float(np.mean(record["token_entropies"])),
        "max_token_entropy": float(np.max(record["token_entropies"])),
        "exact_match_rate": 1.0 - float(np.mean([text == record["response"] for text in texts])),
        "lexical_similarity": -float(np.mean(pairs)),
        "discrete_semantic_entropy": cluster_entropy(record, np.ones(len(texts))),
        "semantic_entropy": cluster_entropy(record, [np.exp(np.mean(s["token_logprobs"])) for s in record["samples"]]),
        "length": float(len(record["tokens"])),
    }


def rejection(values, wrong, max_rejection):
    """LM-Polygraph's area under the rejection curve, and its normalisation; chance as the expectation of its shuffles."""
    quality, n = 1.0 - np.array(wrong, float), len(wrong)
    rejected = int(max_rejection * n)

    def area(order):
        return (np.cumsum(quality[order]) / np.arange(1, n + 1))[n - rejected :].mean()

    chance = quality.mean()
    shuffles = np.mean([area(np.random.default_rng(s).permutation(n)) for s in range(2000)])
    assert abs(chance - shuffles) < 0.01, (chance, shuffles)
    return float((area(np.argsort(values)) - chance) / (area(np.argsort(-quality)) - chance))


def ece(probabilities, wrong, bins, edges):
    p, y = np.array(probabilities), np.array(wrong, float)
    which = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, bins - 1)
    return float(sum(abs(y[which == b].mean() - p[which == b].mean()) * (which == b).mean() for b in set(which)))


def platt(values, wrong):
    """Platt's smoothed targets as weights of duplicated items in an unpenalised logistic regression."""
    x, y = np.array(values), np.array(wrong)
    positives, negatives = y.sum(), (~y).sum()
    target = np.where(y, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    fit = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10000, solver="newton-cholesky")
    fit.fit(np.r_[x, x][:, None], np.r_[np.ones_like(x), np.zeros_like(x)], np.r_[target, 1 - target])
    return {"slope": float(fit.coef_[0, 0]), "intercept": float(fit.intercept_[0])}


def metrics(values, wrong, distinct):
    fpr, tpr, _ = roc_curve(wrong, values, drop_intermediate=False)
    test = scipy.stats.mannwhitneyu(values[wrong], values[~wrong], method="asymptotic", use_continuity=True)
    found = {
        "scores": values.tolist(),
        "wrong": wrong.tolist(),
        "auroc": roc_auc_score(wrong, values),
        "average_precision": average_precision_score(wrong, values),
        "mann_whitney": float(test.pvalue),
        "roc": [list(point) for point in zip(fpr.tolist(), tpr.tolist())],
        "platt": platt(values, wrong),
    }
    if distinct:
        risks = np.cumsum(wrong[np.argsort(values)]) / np.arange(1, len(wrong) + 1)
        found |= {"prr": rejection(values, wrong, 1.0), "prr_half": rejection(values, wrong, 0.5), "aurc": float(risks.mean())}
    return found


def over_orders(values, wrong, metric, orders=4000):
    """Mean of a metric of the order over random orders of tied items: what a metric that resolves ties by expectation has to be."""
    rng = np.random.default_rng(5)
    shuffled = (rng.permutation(len(wrong)) for _ in range(orders))
    return float(np.mean([metric(order[np.argsort(values[order], kind="stable")]) for order in shuffled]))


def tied(values, wrong):
    """AURC and the areas of PRR where scores are tied."""
    n, quality = len(wrong), 1.0 - wrong
    kept = np.arange(1, n + 1)

    def ratio(rejected):
        def area(order):
            return (np.cumsum(quality[order]) / kept)[n - rejected :].mean()

        chance = quality.mean()
        return (over_orders(values, wrong, area) - chance) / (area(np.argsort(-quality)) - chance)

    aurc = over_orders(values, wrong, lambda order: (np.cumsum(wrong[order]) / kept).mean())
    return {"aurc": aurc, "prr": ratio(n), "prr_half": ratio(n // 2)}


def intervals(values, wrong):
    """Percentile bootstrap, 95 %, with resamples drawn and judged by numpy and scikit-learn. Items drawn twice are tied, but of one label."""
    rng = np.random.default_rng(6)
    drawn = [draw for draw in rng.integers(0, len(wrong), (4000, len(wrong))) if 0 < wrong[draw].sum() < len(wrong)]

    def prr(v, w):
        quality, kept = 1.0 - w, np.arange(1, len(w) + 1)
        ours, oracle = ((np.cumsum(quality[np.argsort(key)]) / kept).mean() for key in (v, -quality))
        return (ours - quality.mean()) / (oracle - quality.mean())

    measures = {"auroc": lambda v, w: roc_auc_score(w, v), "auc_pr": lambda v, w: average_precision_score(w, v), "prr": prr}
    return {name: np.quantile([f(values[d], wrong[d]) for d in drawn], [0.025, 0.975]).tolist() for name, f in measures.items()}


def paired():
    rng = np.random.default_rng(8)
    ours, theirs = rng.normal(0.1, 1.0, 120).round(6), rng.normal(0.0, 1.0, 120).round(6)
    found = scipy.stats.bootstrap((ours - theirs,), np.mean, n_resamples=20000, confidence_level=0.95, method="percentile", rng=rng)
    interval = list(found.confidence_interval)
    return {"ours": ours.tolist(), "theirs": theirs.tolist(), "mean": float((ours - theirs).mean()), "interval_95": interval}


def main():
    records = [record(index) for index in range(30)]
    wrong = RNG.random(101) < 0.35
    values = RNG.normal(size=101) + 1.2 * wrong
    probabilities = np.round(RNG.random(203), 9)
    came_true = RNG.random(203) < probabilities**1.5
    mass_edges = np.sort(probabilities)[[-(-b * 203 // 10) for b in range(10)]]
    seeds = [0.61, 0.64, 0.58, 0.66]
    golden = {
        "versions": {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__, "numpy": np.__version__},
        "records": [{"record": r, "scores": scores(r)} for r in records],
        "metrics": [metrics(values, wrong, True), metrics(np.round(2 * values) / 2, wrong, False)],
        "calibration": {
            "probabilities": probabilities.tolist(),
            "wrong": came_true.tolist(),
            "brier": brier_score_loss(came_true, probabilities),
            "ece_width_15": ece(probabilities, came_true, 15, np.arange(15) / 15),
            "ece_mass_10": ece(probabilities, came_true, 10, mass_edges),
        },
        "tied": tied(np.round(2 * values) / 2, wrong),
        "intervals_95": intervals(values, wrong),
        "paired": paired(),
        "student_t": {"values": seeds, "interval_95": list(scipy.stats.t.interval(0.95, 3, np.mean(seeds), scipy.stats.sem(seeds)))},
        "binomial": [
            {"successes": k, "trials": n, "interval_95": list(scipy.stats.binomtest(k, n).proportion_ci(0.95, "exact"))}
            for k, n in [(0, 7), (3, 7), (7, 7), (41, 300), (999, 1000)]
        ],
    }
    text = json.dumps(golden, indent=None, separators=(",", ":"), default=float)
    (pathlib.Path(__file__).parent / "golden.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
