"""The greedy soup: meta-classifiers are averaged only as long as that does not hurt (Wortsman et al. 2022, recipe 1)."""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from medusa_jax.models import meta_classifier

Params = meta_classifier.Params


def greedy_soup(many: Params, score: Callable[[Params], float]) -> tuple[Params, tuple[int, ...]]:
    """The soup of some of `many` (a leading axis of seeds), and which: the best first, each next one if `score` does not fall.

    `score` is of one set of weights on utterances that taught none of them. Of equal scores the earlier seed is tried first.
    """
    seeds = range(len(next(iter(many.values()))))
    alone = [score(_soup(many, [s])) for s in seeds]
    first, *others = sorted(seeds, key=lambda s: -alone[s])
    chosen, best = [first], alone[first]
    for s in others:
        together = score(_soup(many, [*chosen, s]))
        if together >= best:
            chosen, best = [*chosen, s], together
    return _soup(many, chosen), tuple(chosen)


def _soup(many: Params, chosen: Sequence[int]) -> Params:
    return meta_classifier.soup(jax.tree.map(lambda leaf: np.asarray(leaf)[list(chosen)], many))
