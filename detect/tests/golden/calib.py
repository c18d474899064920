"""Expected values of calibrators, intervals, corrections and thresholds, from scikit-learn, scipy, LM-Polygraph and plain numpy.

Run with Python 3, numpy, scipy, scikit-learn and the files of lm-polygraph 0.7 on the path (`pip install --no-deps lm-polygraph==0.7.0` is
enough: only its metrics and normalisers are loaded); writes calib.json beside this file. Nothing here shares code with the crate.
"""

import importlib
import importlib.util
import json
import pathlib
import sys
import types

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
import sklearn
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

RNG = np.random.default_rng(41)


def polygraph(module):
    """A module of LM-Polygraph without its package's own imports, which want torch and a good deal more."""
    for name in ["lm_polygraph", "lm_polygraph.ue_metrics", "lm_polygraph.utils", "lm_polygraph.normalizers"]:
        if name not in sys.modules:
            package = types.ModuleType(name)
            root = importlib.util.find_spec("lm_polygraph").submodule_search_locations[0] if "." not in name else None
            package.__path__ = [root or str(pathlib.Path(sys.modules["lm_polygraph"].__path__[0]) / name.split(".")[1])]
            sys.modules[name] = package
    return importlib.import_module(f"lm_polygraph.{module}")


def psi(wrong_scores, right_scores):
    """All pairs: 1 where the wrong response scores higher, one half where it ties."""
    w, r = wrong_scores[:, None], right_scores[None, :]
    return (w > r) + 0.5 * (w == r)


def delong(scores, wrong):
    """The covariance of DeLong et al. (1988), equations 4 to 6, of several scores, from all pairs."""
    pairs = [psi(s[wrong], s[~wrong]) for s in scores]
    v10, v01 = np.array([p.mean(1) for p in pairs]), np.array([p.mean(0) for p in pairs])
    m, n = wrong.sum(), (~wrong).sum()
    return np.array([p.mean() for p in pairs]), np.cov(v10) / m + np.cov(v01) / n


def delong_case(ours, theirs, wrong):
    aucs, covariance = delong([ours, theirs], wrong)
    assert np.allclose(aucs, [roc_auc_score(wrong, ours), roc_auc_score(wrong, theirs)], atol=1e-12)
    contrast = np.array([1.0, -1.0])
    error = float(np.sqrt(contrast @ covariance @ contrast))
    low, high = scipy.stats.norm.interval(0.95, aucs[0], np.sqrt(covariance[0, 0]))
    return {
        "ours": ours.tolist(),
        "theirs": theirs.tolist(),
        "wrong": wrong.tolist(),
        "variance": covariance[0, 0],
        "interval_95": [max(low, 0.0), min(high, 1.0)],
        "difference": aucs[0] - aucs[1],
        "std_error": error,
        "p_value": 2 * scipy.stats.norm.sf(abs(aucs[0] - aucs[1]) / error),
    }


def reliability(probabilities, wrong, bins, strategy):
    share, mean = calibration_curve(wrong, probabilities, n_bins=bins, strategy=strategy)
    edges = np.linspace(0, 1, bins + 1) if strategy == "uniform" else np.percentile(probabilities, np.linspace(0, 100, bins + 1))
    which = np.searchsorted(edges[1:-1], probabilities)
    counts = np.unique(which, return_counts=True)[1]
    n, y, base = len(wrong), wrong.astype(float), wrong.mean()
    f_bar, y_bar = (np.array([values[which == b].mean() for b in range(bins)])[which] for values in (probabilities, y))
    within = ((probabilities - f_bar) ** 2).mean() - 2 * ((probabilities - f_bar) * (y - y_bar)).mean()
    parts = [(counts / n) @ (mean - share) ** 2, (counts / n) @ (share - base) ** 2, base * (1 - base), within]
    assert abs(parts[0] - parts[1] + parts[2] + parts[3] - brier_score_loss(wrong, probabilities)) < 1e-12
    return {
        "bins": [[int(c), m, s] for c, m, s in zip(counts, mean, share)],
        "mce": float(np.abs(mean - share).max()),
        "brier_parts": parts,
    }


def rejection(scores, wrong):
    area_of = polygraph("ue_metrics.pred_rej_area").PredictionRejectionArea
    metric = polygraph("ue_metrics.ue_metric")
    quality, found = 1.0 - wrong, []
    for share in (1.0, 0.5):
        area = area_of(share)
        ours, oracle = area(scores, quality), area(-quality, quality)
        random = metric.get_random_scores(area, quality)
        found.append({"max_rejection": share, "area": ours, "oracle": oracle, "prr": metric.normalize_metric(ours, oracle, random)})
    risks = np.cumsum(wrong[np.argsort(scores)]) / np.arange(1, len(wrong) + 1)
    best = np.cumsum(np.sort(wrong)) / np.arange(1, len(wrong) + 1)
    return {"areas": found, "excess_aurc": risks.mean() - best.mean(), "aurac": (1 - risks).mean()}


def temperature(scores, wrong):
    """An unpenalised logistic regression without intercept on the log-odds, Platt's smoothed targets as weights of duplicated items."""
    x, w, r = scipy.special.logit(scores), wrong.sum(), (~wrong).sum()
    target = np.where(wrong, (w + 1) / (w + 2), 1 / (r + 2))
    fit = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=10000, solver="newton-cholesky")
    fit.fit(np.r_[x, x][:, None], np.r_[np.ones_like(x), np.zeros_like(x)], np.r_[target, 1 - target])
    return float(fit.coef_[0, 0])


def calibrators(scores, wrong, probability_like):
    y = wrong.astype(float)
    queries = np.r_[scores, RNG.uniform(scores.min() - 1, scores.max() + 1, 60)]
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(scores, y)
    centred = polygraph("utils.cir_model").CenteredIsotonicRegression(out_of_bounds="clip", y_min=0, y_max=1).fit(scores, y)
    found = {
        "scores": scores.tolist(),
        "wrong": wrong.tolist(),
        "queries": queries.tolist(),
        "isotonic": isotonic.predict(queries).tolist(),
        # Beyond the scores LM-Polygraph's value is that of any point: it takes the ends of an unordered set.
        "centred_isotonic": centred(np.clip(queries, scores.min(), scores.max())).tolist(),
    }
    if len(np.unique(scores)) == len(scores):
        binned = polygraph("normalizers.binned_pcc").BinnedPCCNormalizer()
        binned.fit(y, scores, 10)
        found["bins"] = binned.params["binned_metric"].tolist()
    if probability_like:
        found["inverse_temperature"] = temperature(scores, wrong)
    return found


def holm(p_values):
    """The least level at which Holm's step-down procedure rejects each hypothesis, by bisection of the procedure itself."""

    def rejected(level):
        order, found = np.argsort(p_values), np.zeros(len(p_values), bool)
        for rank, test in enumerate(order):
            if p_values[test] > level / (len(order) - rank):
                break
            found[test] = True
        return found

    levels = []
    for test in range(len(p_values)):
        low, high = 0.0, 1.0
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (low, middle) if rejected(middle)[test] else (middle, high)
        levels.append(high)
    return levels


def drift(reference, batch):
    test = scipy.stats.ks_2samp(reference, batch, method="asymp")
    effective = np.sqrt(len(reference) * len(batch) / (len(reference) + len(batch)))
    stephens = scipy.special.kolmogorov((effective + 0.12 + 0.11 / effective) * test.statistic)
    found = {"statistic": test.statistic, "p_value": float(stephens), "scipy_p_value": test.pvalue}
    return {"reference": reference.tolist(), "batch": batch.tolist(), **found}


def conformal(values, alpha):
    rank = int(np.ceil(round((len(values) + 1) * (1 - alpha), 9)))
    threshold = float(np.quantile(values, rank / len(values), method="inverted_cdf")) if rank <= len(values) else None
    return {"n": len(values), "alpha": alpha, "threshold": threshold}


def main():
    wrong = RNG.random(200) < 0.4
    probabilities = np.clip(RNG.normal(0.3 + 0.25 * wrong, 0.2), 0.001, 0.999).round(9)
    probabilities += np.arange(200) * 1e-12
    scores, other = RNG.normal(1.1 * wrong, 1.0).round(9), RNG.normal(0.7 * wrong, 1.0).round(9)
    coarse, coarse_other = np.round(scores * 2) / 2, np.round(other * 2) / 2
    p_values = [0.001, 0.2, 0.012, 0.03, 0.0004, 0.9, 0.03, 0.049]
    values = RNG.normal(size=60).round(9)
    golden = {
        "versions": {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__, "numpy": np.__version__, "lm-polygraph": "0.7.0"},
        "delong": [delong_case(scores, other, wrong), delong_case(coarse, coarse_other, wrong)],
        "reliability": {
            "probabilities": probabilities.tolist(),
            "wrong": wrong.tolist(),
            "width": reliability(probabilities, wrong, 10, "uniform"),
            "mass": reliability(probabilities, wrong, 10, "quantile"),
        },
        "rejection": rejection(scores, wrong),
        "calibrators": [
            calibrators(scores, wrong, False),
            calibrators(coarse, wrong, False),
            calibrators(probabilities, wrong, True),
            calibrators(RNG.normal(size=200).round(9), wrong, False),
        ],
        "p_values": {"raw": p_values, "holm": holm(p_values), "bh": scipy.stats.false_discovery_control(p_values).tolist()},
        "binomial_upper": [
            [k, n, c, scipy.stats.binomtest(k, n, alternative="less").proportion_ci(c, "exact").high]
            for k, n, c in [(0, 22, 0.9), (2, 52, 0.9), (5, 40, 0.95), (40, 40, 0.9), (300, 4000, 0.99)]
        ],
        "drift": [
            drift(RNG.normal(size=150).round(6), RNG.normal(0.35, 1.0, 80).round(6)),
            drift(RNG.normal(size=150).round(1), RNG.normal(0.0, 1.0, 90).round(1)),
        ],
        "conformal": {"values": values.tolist(), "found": [conformal(values[:n], a) for n, a in [(60, 0.1), (19, 0.1), (8, 0.1), (33, 0.25)]]},
    }
    text = json.dumps(golden, indent=None, separators=(",", ":"), default=float)
    (pathlib.Path(__file__).parent / "calib.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
