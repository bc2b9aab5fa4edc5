"""Writes tests/data/metrics.json: metrics of some data as scipy and scikit-learn compute them.

    pip install numpy scipy scikit-learn && python scripts/metric_references.py > tests/data/metrics.json
"""

import json

import numpy as np
from scipy import stats
from sklearn import isotonic, linear_model, metrics

rng = np.random.default_rng(5)
cases = {"kendall": [], "ndcg": [], "kappa": [], "brier": [], "holm": [], "isotonic": [], "t_99": []}
for n in (2, 3, 6, 12, 40):
    one = rng.integers(1, 6, n).astype(float)
    other = rng.permutation(n).astype(float) if n % 2 else rng.integers(1, 6, n).astype(float)
    tau = stats.kendalltau(one, other).statistic
    cases["kendall"].append({"one": one.tolist(), "other": other.tolist(), "tau": None if np.isnan(tau) else float(tau)})
    relevance = rng.integers(0, 5, n).astype(float)
    relevance[0] = 2
    # scikit-learn expects the gains themselves, and averages over ties.
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

# Calibration: a judge's map, from pairs given by the value of the better response minus that of the worse one.
rng = np.random.default_rng(11)
cases["platt"], cases["symmetric_isotonic"], cases["mass_error"] = [], [], []
at = np.linspace(-6, 6, 25)
for n in (7, 60, 300):
    size = np.round(rng.exponential(1.2, n), 2)
    difference = np.where(rng.random(n) < 1 / (1 + np.exp(-1.7 * size)), size, -size)
    difference[0] = 0.5
    # Each pair in both directions, with Platt's targets as weights of both outcomes.
    target = (n + 1) / (n + 2)
    x = np.concatenate([difference, difference, -difference, -difference])[:, None]
    y = np.repeat([1, 0, 1, 0], n)
    weight = np.repeat([target, 1 - target, 1 - target, target], n)
    model = linear_model.LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=10000)
    model.fit(x, y, sample_weight=weight)
    cases["platt"].append({"differences": difference.tolist(), "slope": float(model.coef_[0, 0])})
    x = np.concatenate([difference, -difference])
    level = np.round(isotonic.IsotonicRegression().fit_transform(x, np.repeat([1.0, 0.0], n)), 12)
    # No level is above Platt's target for as many points, nor below the level before it.
    count = dict(zip(*np.unique(level, return_counts=True)))
    held = np.array([min(one, (count[one] + 1) / (count[one] + 2)) for one in level])
    order = np.argsort(x[x > 0])
    places = np.concatenate([[0], x[x > 0][order]])
    values = np.maximum.accumulate(np.concatenate([[0.5], held[x > 0][order]]))
    half = np.interp(np.abs(at), places, values)
    cases["symmetric_isotonic"].append({
        "differences": difference.tolist(), "at": at.tolist(), "fit": np.where(at < 0, 1 - half, half).tolist(),
    })
    # Bins with equally many pairs, if no confidence occurs twice.
    p = rng.random(min(n * 10, 200))
    sure, right = np.maximum(p, 1 - p), (p > 0.5).astype(float)
    order = np.argsort(sure)
    bins = [abs(sure[part].mean() - right[part].mean()) * len(part) for part in np.array_split(order, 10)]
    brier = metrics.brier_score_loss(np.ones(len(p), dtype=int), p, pos_label=1)
    cases["mass_error"].append({"probabilities": p.tolist(), "error": float(sum(bins) / len(p)), "brier": float(brier)})
cases["binomial"] = [
    {
        "hits": hits, "count": count, "share": share, "cdf": float(stats.binom.cdf(hits, count, share)),
        # Clopper and Pearson's upper bound.
        "tail": 0.005, "bound": float(stats.beta.ppf(0.995, hits + 1, count - hits)),
    }
    for hits, count, share in [(0, 51, 0.1), (3, 90, 0.1), (25, 380, 0.1), (400, 9000, 0.05), (150, 300, 0.45), (19, 20, 0.4)]
]
print(json.dumps(cases))
