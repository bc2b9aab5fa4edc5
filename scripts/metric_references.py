"""Writes tests/data/metrics.json: metrics of some data as scipy and scikit-learn compute them.

    pip install numpy scipy scikit-learn && python scripts/metric_references.py > tests/data/metrics.json
"""

import json

import numpy as np
from scipy import stats
from sklearn import isotonic, metrics

rng = np.random.default_rng(5)
cases = {"kendall": [], "ndcg": [], "kappa": [], "brier": [], "holm": [], "isotonic": [], "t_99": []}
for n in (2, 3, 6, 12, 40):
    one = rng.integers(1, 6, n).astype(float)
    other = rng.permutation(n).astype(float) if n % 2 else rng.integers(1, 6, n).astype(float)
    tau = stats.kendalltau(one, other).statistic
    cases["kendall"].append({"one": one.tolist(), "other": other.tolist(), "tau": None if np.isnan(tau) else float(tau)})
    relevance = rng.integers(0, 5, n).astype(float)
    relevance[0] = 2
    # scikit-learn takes the gains themselves, and averages over ties.
    value = metrics.ndcg_score([2**relevance - 1], [one])
    cases["ndcg"].append({"values": one.tolist(), "relevance": relevance.tolist(), "ndcg": float(value)})
for n in (5, 30, 200):
    one = rng.integers(0, 3, n)
    other = np.where(rng.random(n) < 0.6, one, rng.integers(0, 3, n))
    kappa = metrics.cohen_kappa_score(one, other)
    cases["kappa"].append({"one": one.tolist(), "other": other.tolist(), "kappa": float(kappa)})
    p = rng.random(n)
    outcome = rng.random(n) < p**2
    cases["brier"].append({
        "probabilities": p.tolist(), "outcomes": outcome.tolist(), "brier": float(metrics.brier_score_loss(outcome, p)),
    })
    x, y = rng.integers(0, 10, n).astype(float), (rng.random(n) < 0.5).astype(float)
    fit = isotonic.IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(x, y)
    at = np.linspace(-1, 11, 25)
    cases["isotonic"].append({"x": x.tolist(), "y": y.tolist(), "at": at.tolist(), "fit": fit.predict(at).tolist()})
for n in (1, 4, 9):
    p = np.sort(rng.random(n) ** 3)[::-1]
    order = np.argsort(p)
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * (n - np.arange(n))))
    cases["holm"].append({"p": p.tolist(), "adjusted": adjusted.tolist()})
cases["t_99"] = [float(stats.t.ppf(0.995, degrees)) for degrees in range(1, 31)]
print(json.dumps(cases))
