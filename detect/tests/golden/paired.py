"""Writes `paired.json` beside it: McNemar's test, Holm's correction, the paired t-test and the paired bootstrap by statsmodels and scipy.

Usage: `python paired.py` with numpy 2, scipy 1.17 and statsmodels 0.14.
"""

import json
import pathlib

import numpy
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

HERE = pathlib.Path(__file__).parent
CASES = [(40, 0.5, 0.0), (60, 0.7, 0.1), (300, 0.6, 0.05), (300, 0.6, 0.2), (1000, 0.4, 0.0)]


def answers(rng: numpy.random.Generator, items: int, share: float, gain: float) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Two answerers who agree on most items; the second gets `gain` more of them right."""
    ease = rng.random(items)
    noise = rng.random((2, items)) * 0.4 - 0.2
    return (ease + noise[0] < share).astype(int), (ease + noise[1] < share + gain).astype(int)


def test(first: numpy.ndarray, second: numpy.ndarray) -> dict:
    """McNemar's test as statsmodels has it: exact for fewer than 25 items of disagreement."""
    table = [[int(((first == a) & (second == b)).sum()) for b in (1, 0)] for a in (1, 0)]
    few = table[0][1] + table[1][0] < 25
    found = mcnemar(table, exact=few, correction=True)
    return {"first": first.tolist(), "second": second.tolist(), "only_first": table[0][1], "only_second": table[1][0],
            "exact": few, "p_value": float(found.pvalue)}


def losses(rng: numpy.random.Generator) -> dict:
    """Two lists of losses, with the paired t-test and a percentile bootstrap of the mean difference."""
    first = numpy.round(rng.gamma(2.0, 1.0, 250), 6)
    second = numpy.round(first + rng.normal(0.03, 0.3, 250), 6)
    interval = stats.bootstrap((first - second,), numpy.mean, n_resamples=20000, confidence_level=0.95, method="percentile", rng=rng)
    low, high = interval.confidence_interval
    return {"first": first.tolist(), "second": second.tolist(), "p_value": float(stats.ttest_rel(first, second).pvalue),
            "low": float(low), "high": float(high)}


def main() -> None:
    rng = numpy.random.default_rng(11)
    tests = [test(*answers(rng, *case)) for case in CASES]
    p_values = [found["p_value"] for found in tests]
    golden = {"mcnemar": tests, "holm": multipletests(p_values, method="holm")[1].tolist(), "losses": losses(rng)}
    text = json.dumps(golden, separators=(",", ":"))
    (HERE / "paired.json").write_text(text + "\n")
    print(f"paired.json {len(text)} bytes: {[(t['only_first'], t['only_second'], t['p_value']) for t in tests]}")


if __name__ == "__main__":
    main()
