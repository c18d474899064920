"""Expected values of the learned scores and of what they are made of, from scikit-learn, numpy and torch.

Run with Python 3, numpy, scikit-learn and torch; writes learned.json beside this file. Nothing here shares code with the crate: scores are
written from their definitions, the learners are the libraries'. Where lm-polygraph is installed, its own distance is held against numpy's.
"""

import json
import pathlib

import numpy as np
import sklearn
import torch
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

RNG = np.random.default_rng(11)
N, D, HEADS = 60, 16, 12
LAYERS = [3, 6, 9]


def f32(values):
    """Numbers that a record's f32 fields hold exactly."""
    return np.asarray(values, np.float32).round(4).astype(np.float32)


def states(wrong):
    """States of several layers with spread of very different sizes, moved a little by what is wrong."""
    sizes = np.logspace(-1, 1.5, D)
    mixing = RNG.normal(size=(D, D)) / np.sqrt(D)
    return f32((RNG.normal(size=(N, D)) * sizes) @ mixing + 3.0 + wrong[:, None] * RNG.normal(size=D) * 1.5)


def records():
    wrong = RNG.random(N) < 0.4
    layers = {layer: {place: states(wrong) for place in ("mean", "last", "prompt")} for layer in LAYERS}
    lookback = (0.5 + 0.1 * RNG.normal(size=(N, HEADS)) + 0.08 * wrong[:, None]).clip(0, 1).round(6)
    found = []
    for i in range(N):
        pool = ["Rome", "Oslo", "Bonn", "Kyiv"][: 4 if wrong[i] else int(RNG.integers(1, 3))]
        samples = [{"text": str(RNG.choice(pool)), "token_logprobs": [round(float(-RNG.exponential(0.7)), 6)]} for _ in range(6)]
        record = {
            "id": f"r{i}",
            "prompt": "Where?",
            "response": samples[0]["text"],
            "token_logprobs": [round(float(x), 6) for x in -RNG.exponential(0.5 + wrong[i], 4)],
            "attention": {"lookback": lookback[i].tolist()},
            "hidden": [{"layer": n} | {place: values[place][i].astype(float).round(4).tolist() for place in values} for n, values in layers.items()],
            "samples": samples,
            "label": int(wrong[i]),
        }
        if i % 5:
            record["token_entropies"] = [round(float(x), 6) for x in RNG.exponential(0.8 + 0.5 * wrong[i], 4)]
        found.append(record)
    return found


def column(found, place, layer=6):
    pick = [next(h for h in r["hidden"] if h["layer"] == layer)[place] for r in found]
    return np.asarray(pick, np.float32).astype(float)


def distances(train, test):
    """LM-Polygraph's: covariance (n - 1), the first jitter of 1e-15 to 0.1 that makes all eigenvalues non-negative, a square root."""
    covariance = np.cov(train.T)
    jitter = next(10.0**e for e in range(-15, 0) if (np.linalg.eigvalsh(covariance + 10.0**e * np.eye(D)) >= 0).all())
    inverse = np.linalg.inv(covariance + jitter * np.eye(D))
    away = test - train.mean(0)
    found = np.sqrt(np.einsum("nd,de,ne->n", away, inverse, away))
    try:
        from lm_polygraph.estimators.mahalanobis_distance import compute_inv_covariance, mahalanobis_distance_with_known_centroids_sigma_inv
    except ImportError:
        return found
    train, test = torch.tensor(train), torch.tensor(test)
    theirs = mahalanobis_distance_with_known_centroids_sigma_inv(
        train.mean(0, keepdim=True), None, compute_inv_covariance(None, train)[0].double(), test
    )
    assert np.allclose(theirs[:, 0].numpy(), found, rtol=1e-3), "LM-Polygraph rounds its inverse to f32"
    return found


def shrunk(train, test):
    """Fewer records than dimensions: Ledoit and Wolf."""
    fit = LedoitWolf().fit(train)
    return {"shrinkage": fit.shrinkage_, "distances": np.sqrt(fit.mahalanobis(test)).tolist()}


def semantic_entropy(record):
    mass = {}
    for sample in record["samples"]:
        mass[sample["text"]] = mass.get(sample["text"], 0.0) + np.exp(np.mean(sample["token_logprobs"]))
    q = np.array(list(mass.values())) / sum(mass.values())
    return float(-(q * np.log(q)).sum())


def logistic(x, y, c=1.0):
    """The minimum itself, from scikit-learn's exact Newton solver."""
    return LogisticRegression(C=c, tol=1e-12, max_iter=10000, solver="newton-cholesky").fit(x, y)


def probe(train, test):
    """A threshold that leaves the least squared error within the two sides, of a hundred (section 4 of arXiv 2406.15927)."""
    entropies = np.array([semantic_entropy(r) for r in train])
    thresholds = np.linspace(1e-10, entropies.max(), 100)

    def error(threshold):
        sides = entropies[entropies < threshold], entropies[entropies >= threshold]
        return sum(((side - side.mean()) ** 2).sum() for side in sides if len(side))

    threshold = thresholds[np.argmin([error(t) for t in thresholds])]
    fit = logistic(column(train, "prompt"), entropies >= threshold)
    return {"threshold": threshold, "scores": fit.decision_function(column(test, "prompt")).tolist()}


def lookback(train, test):
    x = [np.array([r["attention"]["lookback"] for r in part]) for part in (train, test)]
    return logistic(x[0], [r["label"] for r in train]).decision_function(x[1]).tolist()


def ensemble(train, test):
    """msp, mean token entropy (absent from every fifth record: its mean and a column that says so) and exact match."""

    def scores(record):
        entropy = np.mean(record["token_entropies"]) if "token_entropies" in record else np.nan
        repeats = np.mean([s["text"] == record["response"] for s in record["samples"]])
        return [-sum(record["token_logprobs"]), entropy, 1.0 - repeats]

    fitted_on, judged = (np.array([scores(r) for r in part]) for part in (train, test))
    mean = np.nanmean(fitted_on[:, 1])

    def features(x):
        absent = np.isnan(x[:, 1])
        return np.c_[x[:, 0], np.where(absent, mean, x[:, 1]), absent, x[:, 2]]

    scaler = StandardScaler().fit(features(fitted_on))
    fit = logistic(scaler.transform(features(fitted_on)), [r["label"] for r in train])
    names = ["msp", "mean_token_entropy", "mean_token_entropy is missing", "exact_match_rate"]
    return {"weights": dict(zip(names, fit.coef_[0])), "scores": fit.decision_function(scaler.transform(features(judged))).tolist()}


def membership(found):
    """HaloScope's score for k = 1..10: mean over k of singular value times squared projection of centred states."""
    x = column(found, "last")
    centred = x - x.mean(0)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    along = (centred @ vectors.T) ** 2
    return {"singular_values": values[:10].tolist(), "squared_projections": along[:, :10].tolist()}


def logistic_cases():
    """Tall, wide and badly scaled features, weak and strong penalties."""
    found = []
    for n, d, c, spread in [(80, 5, 1.0, 0), (30, 40, 0.1, 0), (60, 6, 100.0, 3), (25, 3, 1e-3, 0)]:
        x = (RNG.normal(size=(n, d)) * np.logspace(0, spread, d)).round(5)
        y = x[:, 0] + RNG.normal(size=n) > 0.3
        fit = logistic(x, y, c)
        found.append({"features": x.tolist(), "positive": y.tolist(), "c": c, "weights": fit.coef_[0].tolist(), "intercept": fit.intercept_[0]})
    return found


def network():
    """Loss, gradients and five full-batch steps of Adam with weight decay, in double precision."""
    torch.manual_seed(3)
    sizes, x = [4, 5, 3, 1], torch.tensor(RNG.normal(size=(12, 4)).round(4))
    y = torch.tensor((RNG.random(12) < 0.5).astype(float))
    layers = [torch.nn.Linear(a, b).double() for a, b in zip(sizes, sizes[1:])]
    for layer in layers:
        layer.weight.data, layer.bias.data = layer.weight.data.float().double(), layer.bias.data.float().double()
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    criterion = torch.nn.BCEWithLogitsLoss()

    def shown(of):
        return [{"weight": of(layer.weight).tolist(), "bias": of(layer.bias).tolist()} for layer in layers]

    before = shown(lambda p: p.detach())
    loss = criterion(model(x)[:, 0], y)
    loss.backward()
    gradients = shown(lambda p: p.grad)
    adam = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=3e-4)
    for _ in range(5):
        adam.zero_grad()
        criterion(model(x)[:, 0], y).backward()
        adam.step()
    return {
        "features": x.tolist(),
        "targets": y.tolist(),
        "layers": before,
        "loss": loss.item(),
        "gradients": gradients,
        "after_5_steps": shown(lambda p: p.detach()),
        "log_odds_after": model(x)[:, 0].tolist(),
    }


def main():
    found = records()
    train, test = found[:40], found[40:]
    near, far = column(train, "mean"), column(test, "mean")
    right = near[[r["label"] == 0 for r in train]]
    golden = {
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "torch": torch.__version__},
        "records": found,
        "n_train": len(train),
        "mahalanobis": distances(near, far).tolist(),
        "relative_mahalanobis": (distances(right, far) - distances(near, far)).tolist(),
        "shrunk": shrunk(near[:10], far),
        "semantic_entropy_probe": probe(train, test),
        "lookback_ratio": lookback(train, test),
        "ensemble": ensemble(train, test),
        "haloscope": membership(found),
        "logistic": logistic_cases(),
        "network": network(),
    }
    assert roc_auc_score([r["label"] for r in test], golden["ensemble"]["scores"]) > 0.5
    text = json.dumps(golden, separators=(",", ":"), default=float)
    (pathlib.Path(__file__).parent / "learned.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
