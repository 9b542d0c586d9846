"""The bootstrap over speakers written out, to check the fast one."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats


def slow_interval(
    metric: Callable[[np.ndarray], float], speakers: Sequence[str], *, resamples: int, seed: int
) -> tuple[float, float]:
    """The 95 % interval of a metric of the row numbers drawn, repeats included."""
    names = list(dict.fromkeys(speakers))
    rows = [np.flatnonzero(np.array(speakers) == name) for name in names]
    n = len(names)
    drawn = np.random.default_rng(seed).integers(0, n, (resamples, n))
    values = [metric(np.concatenate([rows[k] for k in one])) for one in drawn]
    t = np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1)
    low, high = np.percentile(values, [100 * stats.norm.cdf(-t), 100 * stats.norm.cdf(t)])
    return float(low), float(high)
