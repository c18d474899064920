"""Expected values of the one-pass scores, from LM-Polygraph 0.7, uqlm 0.6, scipy and numpy.

Run with Python 3, numpy, scipy and, without their dependencies, `lm-polygraph==0.7.0` and `uqlm==0.6.7`; writes onepass.json beside
this file. Responses are made up from distributions over a vocabulary of `VOCABULARY`, attention and log-probabilities without the prompt. The
packages see these; a record has what is left of them, by definitions from scipy and numpy. The packages' `__init__` files, which import models
and servers, are left unread.
"""

import json
import pathlib
import sys
import types
import warnings

import numpy as np
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import entropy

RNG = np.random.default_rng(5)
VOCABULARY, LAYERS, HEADS, PROMPT, TOP = 24, 6, 3, 4, 5
LENGTHS = [1, 2, 3, 4, 5, 6, 9, 10, 11, 14, 15, 20]
SCALES = [2.0, 0.0, 8.0, 0.3, 4.0]  # of the logits: from uniform to nearly certain


def without_init(package):
    """Makes a package importable by its modules, its own `__init__` left out."""
    parent, _, name = package.rpartition(".")
    folders = sys.modules[parent].__path__ if parent else sys.path
    module = types.ModuleType(package)
    module.__path__ = [str(folder) for folder in (pathlib.Path(place, name) for place in folders) if folder.is_dir()]
    sys.modules[package] = module


def packages():
    for package in ("lm_polygraph", "lm_polygraph.estimators", "lm_polygraph.utils", "uqlm", "uqlm.white_box"):
        without_init(package)
    common = types.ModuleType("lm_polygraph.utils.common")
    common.polygraph_module_init = lambda init: init
    sys.modules[common.__name__] = common
    from lm_polygraph.estimators.attention_score import AttentionScore
    from lm_polygraph.estimators.max_probability import MaximumSequenceProbability
    from lm_polygraph.estimators.p_true import PTrue
    from lm_polygraph.estimators.perplexity import Perplexity
    from lm_polygraph.estimators.pointwise_mutual_information import MeanPointwiseMutualInformation
    from lm_polygraph.estimators.rauq import RAUQ
    from lm_polygraph.estimators.renyi_neg import RenyiNeg
    from lm_polygraph.estimators.self_certainty import SelfCertainty
    from lm_polygraph.estimators.token_entropy import MeanTokenEntropy
    from lm_polygraph.estimators.verbalized_1s import Verbalized1S
    from uqlm.white_box.single_logprobs import SingleLogprobsScorer
    from uqlm.white_box.top_logprobs import TopLogprobsScorer

    estimators = {
        "msp": MaximumSequenceProbability(),
        "perplexity": Perplexity(),
        "mean_token_entropy": MeanTokenEntropy(),
        "self_certainty": SelfCertainty(),
        "renyi": RenyiNeg(),
        "pmi": MeanPointwiseMutualInformation(),
        "p_true": PTrue(),
        "verbalised": Verbalized1S(r"Confidence: ([0-9.]+)"),
        "rauq": RAUQ(n_layers=LAYERS, n_heads=HEADS),
        "attention_score": AttentionScore(layer=LAYERS // 2, gen_only=True),
    }
    return estimators, RAUQ, SingleLogprobsScorer(), TopLogprobsScorer()


def made_up(index):
    """Everything a model could tell of one response."""
    length, size = LENGTHS[index], PROMPT + LENGTHS[index]
    logprobs = log_softmax(SCALES[index % len(SCALES)] * RNG.normal(size=(length, VOCABULARY)), axis=-1)
    logits = np.where(np.tri(size, dtype=bool), RNG.normal(0, 2, (LAYERS, HEADS, size, size)), -np.inf)
    return {
        "logprobs": logprobs,
        "tokens": [int(RNG.choice(VOCABULARY, p=np.exp(row))) for row in logprobs],
        "alone": [0.0] + [float(x) for x in -RNG.exponential(2.0, length - 1)],
        "attention": softmax(logits, axis=-1),
        "p_true": float(RNG.uniform(0.01, 1)),
        "verbalised": round(float(RNG.uniform()), 2),
    }


def stats(response):
    length = len(response["tokens"])
    among = response["attention"][:, :, -length:, -length:]
    return {
        "greedy_log_probs": [response["logprobs"]],
        "greedy_log_likelihoods": [response["logprobs"][np.arange(length), response["tokens"]]],
        "greedy_lm_log_likelihoods": [response["alone"]],
        "greedy_tokens": [response["tokens"]],
        "greedy_texts": [f"Answer. Confidence: {response['verbalised']}"],
        "entropy": [entropy(np.exp(response["logprobs"]), axis=-1)],
        "p_true": [np.log(response["p_true"])],
        "attention_all": [among.reshape(LAYERS * HEADS, length, length)],
        "forwardpass_attention_weights": [response["attention"]],
    }


def by_layer(rauq, given):
    """RAUQ's uncertainty of each of its layers."""

    def of(layer):
        estimator = rauq(n_layers=LAYERS, n_heads=HEADS)
        estimator.layers = [layer]
        return float(estimator(given)[0])

    return [of(layer) for layer in rauq(n_layers=LAYERS, n_heads=HEADS).layers]


def own_attention(response):
    """Mean over heads of the sum of the logarithms of attention to itself, of each layer, over the tokens that predicted another."""
    own = np.diagonal(response["attention"], axis1=2, axis2=3)[:, :, PROMPT:-1]
    return [float(x) for x in np.log(own + 1e-12).sum(-1).mean(-1)] if own.size else []


def record(index, response, given, rauq):
    probabilities, uniform = np.exp(response["logprobs"]), np.full(VOCABULARY, 1 / VOCABULARY)
    softened = np.sqrt(probabilities) / np.sqrt(probabilities).sum(-1, keepdims=True)
    best = np.argsort(-response["logprobs"], axis=-1)[:, :TOP]
    attention = {"rauq": by_layer(rauq, given), "score": own_attention(response)}
    return {
        "id": f"o{index}",
        "prompt": "Where?",
        "response": "r",
        "tokens": response["tokens"],
        "token_logprobs": given["greedy_log_likelihoods"][0].tolist(),
        "token_entropies": given["entropy"][0].tolist(),
        "top_logprobs": [[(int(v), float(row[v])) for v in top] for row, top in zip(response["logprobs"], best)],
        "token_self_certainties": rel_entr(uniform, probabilities).sum(-1).tolist(),
        "token_renyi": (-2 * np.log(np.sqrt(softened * uniform).sum(-1))).tolist(),
        "unconditional_logprobs": response["alone"],
        "attention": attention,
        "judged": {"p_true": response["p_true"], "verbalised": response["verbalised"]},
    }


def scores(record, given, estimators, single, top):
    found = {name: float(estimator(given)[0]) for name, estimator in estimators.items()}
    # LM-Polygraph's divergence is lower by 2 ln V and grows with certainty.
    found["renyi"] = -(found["renyi"] + 2 * np.log(VOCABULARY))
    if len(record["tokens"]) == 1:
        del found["attention_score"]  # no token predicted another
    alternatives = [[{"logprob": logprob} for _, logprob in row] for row in record["top_logprobs"]]
    told = [[{"logprob": p, "top_logprobs": row} for p, row in zip(record["token_logprobs"], alternatives)]]
    found["max_token_nll"] = -np.log(single.evaluate(told)["min_probability"][0])
    found["top2_margin"] = 1 - top.evaluate(told)["probability_margin"][0]
    # Min-K% Prob (swj0419/detect-pretrain-code, run.py): the int(n * ratio) lowest; theirs is NaN of none.
    lowest = np.sort(record["token_logprobs"])
    found["min_k"] = -np.mean(lowest[: max(1, int(len(lowest) * 0.2))])
    found["max_token_entropy"] = max(record["token_entropies"])
    found["first_token_entropy"] = entropy(np.exp(given["greedy_log_probs"][0][0]))
    return {name: float(value) for name, value in found.items()}


def rounded(value):
    if isinstance(value, float):
        return round(value, 10)
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def main():
    warnings.simplefilter("ignore")
    estimators, rauq, single, top = packages()
    golden = []
    for index in range(len(LENGTHS)):
        response = made_up(index)
        given = stats(response)
        made = record(index, response, given, rauq)
        golden.append({"record": made, "scores": scores(made, given, estimators, single, top)})
    (pathlib.Path(__file__).parent / "onepass.json").write_text(json.dumps(rounded(golden), separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
