"""A member's place after each epoch."""

from dataclasses import replace

from medusa_jax.tasks.task import Phase
from medusa_jax.training.schedule import after_epoch, begun

FIRST = Phase("first", 2, 9)


def scored(phases, *scores):
    """The place after epochs with these scores."""
    now = begun(phases)
    for score in scores:
        now = after_epoch(replace(now, done=3), score, phases)
    return now


def test_the_best_epoch_is_of_all_phases():
    now = scored((FIRST, Phase("second", 2, 9, "best")), 0.4, 0.6, 0.3, 0.5)
    assert (now.best, now.best_epoch, now.finished) == (0.6, 2, True)


def test_a_phase_that_is_scored_anew_has_a_best_epoch_of_its_own():
    """Another model is scored there: an untrained one never loses to its teacher."""
    phases = (FIRST, Phase("second", 3, 9, "best", anew=True))
    now = scored(phases, 0.4, 0.6, 0.3)
    assert (now.best, now.best_epoch, now.stale) == (0.3, 3, 0)
    now = scored(phases, 0.4, 0.6, 0.3, 0.5, 0.2)
    assert (now.best, now.best_epoch, now.finished) == (0.5, 4, True)


def test_patience_counts_from_the_phases_own_epochs():
    phases = (Phase("first", 9, 2), Phase("second", 9, 2, anew=True))
    now = scored(phases, 0.6, 0.5, 0.5)
    assert (now.phase, now.stale) == (1, 0)
    assert scored(phases, 0.6, 0.5, 0.5, 0.1, 0.1, 0.1).finished
