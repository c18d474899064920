"""Expected values of the scores that compare samples by meaning, from the estimators of LM-Polygraph 0.7, uqlm 0.6 and selfcheckgpt 0.1.

Run with Python 3, numpy, scipy, torch, and `pip install --no-deps lm-polygraph==0.7.0 uqlm==0.6.7 selfcheckgpt==0.1.7`; writes compare.json beside this file. The
packages' own modules are imported one by one, with empty modules in the place of what they do not need here. They are fed made-up token
probabilities, judgements of entailment and word overlap; nothing here shares code with the crate.
"""

import importlib
import importlib.metadata
import json
import pathlib
import string
import sys
import types

import numpy as np

RNG = np.random.default_rng(11)
WORDS = ["Paris", "Rome", "the", "city", "of", "light", "lies", "in", "France", "Italy", "old", "far"]
RELATIONS = ["entailment", "neutral", "contradiction"]


def bare(name, path=None, **contents):
    """An importable module that holds what it is told."""
    module = types.ModuleType(name)
    module.__path__ = [str(path)] if path else []
    vars(module).update(contents)
    sys.modules[name] = module


def prepare():
    polygraph, uqlm = (pathlib.Path(importlib.metadata.distribution(d).locate_file(m)) for d, m in [("lm_polygraph", "lm_polygraph"), ("uqlm", "uqlm")])
    bare("lm_polygraph", polygraph)
    bare("lm_polygraph.estimators", polygraph / "estimators")
    bare("lm_polygraph.stat_calculators", polygraph / "stat_calculators")
    bare("lm_polygraph.utils")
    bare("lm_polygraph.utils.common", polygraph_module_init=lambda init: init)
    bare("lm_polygraph.utils.model", WhiteboxModel=object, Model=object)
    bare("uqlm", uqlm)
    bare("uqlm.nli", uqlm / "nli")
    bare("uqlm.utils")
    bare("uqlm.utils.device", get_best_device=None)
    bare("uqlm.utils.warn", beta_warning=None)
    for name in ["spacy", "bert_score"]:
        bare(name)
    bare("selfcheckgpt", pathlib.Path(importlib.metadata.distribution("selfcheckgpt").locate_file("selfcheckgpt")))
    bare("selfcheckgpt.utils", MQAGConfig=None, expand_list1=None, expand_list2=None, NLIConfig=None, LLMPromptConfig=None)
    bare("selfcheckgpt.modeling_mqag", question_generation_sentence_level=None, answering=None)
    bare("selfcheckgpt.modeling_ngram", UnigramModel=None, NgramModel=None)


def estimator(module, name, **options):
    return getattr(importlib.import_module(f"lm_polygraph.estimators.{module}"), name)(**options)


class Judge:
    """Random probabilities of the three relations, drawn once a pair; a text entails itself."""

    def __init__(self):
        self.known = {}

    def __call__(self, premise, hypothesis):
        if premise == hypothesis:
            return np.array([1.0, 0.0, 0.0])
        if (premise, hypothesis) not in self.known:
            entailment, neutral = np.round(RNG.dirichlet([0.5, 0.4, 0.5])[:2], 4)
            self.known[premise, hypothesis] = np.array([entailment, neutral, round(1 - entailment - neutral, 4)])
        return self.known[premise, hypothesis]

    def matrices(self, rows, columns):
        """[rows, columns] for each relation."""
        return np.moveaxis(np.array([[self(row, column) for column in columns] for row in rows]), -1, 0)


JUDGE = Judge()


def rouge_l(a, b):
    """F1 of the longest common subsequence of words."""
    a, b = ("".join(c if c.isalnum() else " " for c in text.lower()).split() for text in (a, b))
    table = np.zeros((len(a) + 1, len(b) + 1))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
    return 2 * table[-1, -1] / (len(a) + len(b)) if table[-1, -1] else float(a == b)


def tokens(words):
    return [word if i == 0 else f" {word}" for i, word in enumerate(words)]


def numbers(count, scale):
    return [round(float(x), 6) for x in RNG.exponential(scale, count)]


def answer(words):
    logprobs = [-x for x in numbers(len(words), 0.7)]
    return {"text": "".join(tokens(words)), "token_texts": tokens(words), "token_logprobs": logprobs}


def alternatives(text, logprob):
    """The token itself, then four others."""
    others = [f" {word}" for word in RNG.permutation(WORDS) if word != text.strip()][:4]
    return [(text, logprob)] + [(other, logprob - x) for other, x in zip(others, sorted(numbers(4, 1.0)))]


def record(index):
    pool = [list(RNG.choice(WORDS, int(RNG.integers(1, 6)), replace=False)) for _ in range(int(RNG.integers(1, 5)))]
    samples = [answer(pool[int(RNG.integers(len(pool)))]) for _ in range(int(RNG.integers(2, 7)))]
    own = answer(pool[0] if index % 2 else list(RNG.choice(WORDS, 4, replace=False)))
    top = [alternatives(text, logprob) for text, logprob in zip(own["token_texts"], own["token_logprobs"])]
    return {
        "id": f"r{index}",
        "prompt": "Where is the city?",
        "response": own["text"],
        "token_texts": own["token_texts"],
        "token_logprobs": own["token_logprobs"],
        "token_entropies": numbers(len(top), 1.2),
        "top_logprobs": [[(WORDS.index(text.strip()), round(logprob, 6)) for text, logprob in row] for row in top],
        "top_texts": [[text for text, _ in row] for row in top],
        "judged": {"p_true": round(float(RNG.random()), 6)},
        "samples": samples,
    }


def token_similarity(record, texts):
    """LM-Polygraph's CrossEncoderSimilarityMatrixCalculator, with word overlap for the cross-encoder."""
    full = record["prompt"] + " " + "".join(texts)
    cut = [record["prompt"] + " " + "".join(texts[:t] + texts[t + 1 :]) for t in range(len(texts))]
    return np.array([rouge_l(full, other) for other in cut]) if len(texts) > 1 else np.array([0.5])


def classes(texts):
    """LM-Polygraph's strict clusters: both directions most likely entailment."""
    calculator = importlib.import_module("lm_polygraph.stat_calculators.semantic_classes").SemanticClassesCalculator()
    likeliest = JUDGE.matrices(texts, texts).argmax(0)
    return calculator({"sample_texts": [texts], "semantic_matrix_classes": likeliest[None], "entailment_id": 0}, [], None)["semantic_classes_entail"]


def word_relations(record):
    """LM-Polygraph's GreedyAlternativesNLICalculator: relations of each token's word to its alternatives', there and back."""
    strip = lambda text: text.strip(string.punctuation + " \n")
    likeliest = lambda a, b: ["entail", "neutral", "contra"][int(np.argmax(JUDGE(strip(a), strip(b))))]
    of = lambda row: [[likeliest(row[i], row[j]) if 0 in (i, j) else "" for j in range(len(row))] for i in range(len(row))]
    return [of(row) for row in record["top_texts"]]


def statistics(record):
    texts, response = [s["text"] for s in record["samples"]], record["response"]
    entail, neutral, contra = JUDGE.matrices(texts, texts)
    _, near_neutral, near_contra = JUDGE.matrices([record["prompt"] + "\n" + response], [record["prompt"] + "\n" + text for text in texts])
    logprobs = [np.array(s["token_logprobs"]) for s in record["samples"]]
    pairs = [list(zip(row, [p for _, p in top])) for row, top in zip(record["top_texts"], record["top_logprobs"])]
    with np.errstate(divide="ignore"):
        logits = np.log(entail), np.log(contra)
    batch = {
        "sample_texts": texts,
        "sample_tokens": logprobs,
        "sample_log_likelihoods": logprobs,
        "sample_log_probs": [l.sum() for l in logprobs],
        "sample_sentence_similarity": np.array([[rouge_l(a, b) for b in texts] for a in texts]),
        "sample_token_similarity": [token_similarity(record, s["token_texts"]) for s in record["samples"]],
        "token_similarity": token_similarity(record, record["token_texts"]),
        "greedy_log_likelihoods": np.array(record["token_logprobs"]),
        "greedy_sentence_similarity": np.array([rouge_l(response, text) for text in texts]),
        "entropy": np.array(record["token_entropies"]),
        "greedy_tokens": record["token_texts"],
        "greedy_tokens_alternatives": pairs,
        "greedy_tokens_alternatives_nli": word_relations(record),
        "semantic_matrix_entail": entail,
        "semantic_matrix_contra": contra,
        "semantic_matrix_entail_logits": logits[0],
        "semantic_matrix_contra_logits": logits[1],
        "concat_greedy_semantic_matrix_neutral_forward": near_neutral[0],
        "concat_greedy_semantic_matrix_contra_forward": near_contra[0],
    }
    wrapped = {name: [value] for name, value in batch.items()}
    for name in ["semantic_matrix_entail", "semantic_matrix_contra"]:
        wrapped[name] = np.array(wrapped[name])
    return wrapped | {"semantic_classes_entail": classes(texts)}


ESTIMATORS = {
    "discrete_semantic_entropy": ("semantic_entropy", "SemanticEntropy", {"class_probability_estimation": "frequency"}),
    "semantic_entropy_mc": ("semantic_entropy", "SemanticEntropy", {}),
    "semantic_entropy_unique": ("semantic_entropy", "SemanticEntropy", {"use_unique_responses": True}),
    "num_semantic_sets": ("num_sem_sets", "NumSemSets", {}),
    "kernel_language_entropy": ("kernel_language_entropy", "KernelLanguageEntropy", {}),
    "token_sar": ("token_sar", "TokenSAR", {}),
    "sentence_sar": ("sentence_sar", "SentenceSAR", {}),
    "sar": ("sar", "SAR", {}),
    "cocoa_msp": ("cocoa", "CocoaMSP", {}),
    "cocoa_ppl": ("cocoa", "CocoaPPL", {}),
    "cocoa_mte": ("cocoa", "CocoaMTE", {}),
    "semantic_density": ("semantic_density", "SemanticDensity", {}),
    "luq": ("luq", "LUQ", {}),
    "ccp": ("claim_conditioned_probability", "ClaimConditionedProbability", {}),
    "degmat_nli": ("deg_mat", "DegMat", {}),
    "eccentricity_nli": ("eccentricity", "Eccentricity", {}),
    "eigval_laplacian_nli": ("eig_val_laplacian", "EigValLaplacian", {}),
}


def uqlm_semantic_entropy(record, classes):
    formulas = importlib.import_module("uqlm.nli.entropy_utils")
    probabilities = [formulas.length_norm_sequence_prob([{"logprob": x} for x in s["token_logprobs"]]) for s in record["samples"]]
    return formulas.compute_semantic_entropy(formulas.compute_cluster_probabilities(probabilities, classes["class_to_sample"][0]))


def uqlm_bsdetector(record):
    """uqlm's weights over its NLI comparison, exact match, and the model's own judgement."""
    nli = object.__new__(importlib.import_module("uqlm.nli.nli").NLI)
    nli.label_mapping = RELATIONS[::-1]
    texts, response = [s["text"] for s in record["samples"]], record["response"]
    nli.probabilities = {pair: JUDGE(*pair)[None, ::-1] for text in texts for pair in [(response, text), (text, response)]}
    agreed = np.mean([r["noncontradiction_score"] for r in nli.get_nli_results_batch([(response, text) for text in texts])])
    return 1 - np.dot([0.7 * 0.8, 0.7 * 0.2, 0.3], [agreed, np.mean([text == response for text in texts]), record["judged"]["p_true"]])


class Logits(dict):
    """What a tokenizer hands to a model: here the logits themselves, of entailment and contradiction."""

    def to(self, device):
        return self


def selfcheck_nli(record):
    """SelfCheckNLI.predict on the response, which is one sentence, over a model that knows the judgements."""
    import torch

    check = object.__new__(importlib.import_module("selfcheckgpt.modeling_selfcheck").SelfCheckNLI)
    logits = lambda pair: torch.tensor(np.log(JUDGE(*pair)[[0, 2]] + 1e-300))[None]
    encode = lambda batch_text_or_text_pairs, **_: Logits(logits=logits(batch_text_or_text_pairs[0]))
    check.tokenizer, check.device = types.SimpleNamespace(batch_encode_plus=encode), None
    check.model = lambda logits: types.SimpleNamespace(logits=logits)
    return check.predict([record["response"]], [s["text"] for s in record["samples"]])[0]


def scores(record):
    given = statistics(record)
    found = {name: float(np.asarray(estimator(module, kind, **options)(given)).ravel()[0]) for name, (module, kind, options) in ESTIMATORS.items()}
    found["semantic_entropy"] = float(uqlm_semantic_entropy(record, given["semantic_classes_entail"]))
    found["selfcheck_nli"] = float(selfcheck_nli(record))
    found["bsdetector"] = float(uqlm_bsdetector(record))
    return found


def main():
    prepare()
    cases = [{"record": r, "scores": scores(r)} for r in map(record, range(12))]
    assert all(np.isfinite(value) for case in cases for value in case["scores"].values())
    rows = [dict(zip(["premise", "hypothesis"] + RELATIONS, [*pair, *map(float, p)])) for pair, p in JUDGE.known.items()]
    versions = {name: importlib.metadata.version(name) for name in ["lm_polygraph", "uqlm", "selfcheckgpt", "numpy", "scipy"]}
    text = json.dumps({"versions": versions, "judgements": rows, "cases": cases}, separators=(",", ":"))
    (pathlib.Path(__file__).parent / "compare.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
