"""Batches on devices: one late, halved where memory runs out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medusa_jax.backbones.placement import computed
from medusa_jax.errors import FeatureError
from medusa_jax.machines.mesh import devices_of

NO_MEMORY = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."
several_devices = pytest.mark.skipif(len(jax.devices()) < 2, reason="there is one device")


def doubled(most, tried):
    """Doubles numbers, in batches of at most `most` rows; a negative one always fails."""

    def start(numbers, rows):
        tried.append(rows)
        if rows > most:
            raise jax.errors.JaxRuntimeError(NO_MEMORY)
        if min(numbers) < 0:
            raise jax.errors.JaxRuntimeError("INTERNAL: no such number\nand more")
        return 2 * jnp.array([*numbers, *[0] * (rows - len(numbers))])

    return start


def made(batches, most, tried, devices=1):
    found = {}
    for numbers, result in computed(batches, doubled(most, tried), devices_of(devices)):
        for row, number in enumerate(numbers):
            found[number] = result if isinstance(result, Exception) else int(result[row])
    return found


BATCHES = [(list(range(8)), 8), ([8, 9, 10], 8)]


@pytest.mark.parametrize(("most", "tries"), [(8, [8, 8]), (3, [8, 8, 4, 2, 2, 4, 2, 2, 4, 2, 2])])
def test_a_batch_is_halved_until_it_fits(most, tries):
    tried: list[int] = []
    assert made(BATCHES, most, tried) == {number: 2 * number for number in range(11)}
    assert tried == tries


def test_what_does_not_fit_alone_is_an_error_of_its_inputs():
    found = made(BATCHES, 0, [])
    assert len(found) == 11
    for error in found.values():
        assert isinstance(error, FeatureError)
        assert "batch_seconds" in str(error.hint)


@several_devices
def test_rows_stay_a_multiple_of_the_devices():
    tried: list[int] = []
    made([(list(range(8)), 8)], 0, tried, devices=2)
    assert set(tried) == {8, 4, 2}


def test_another_failure_is_not_tried_again():
    tried: list[int] = []
    found = made([([-1, 5], 2), ([3], 2)], 8, tried)
    assert tried == [2, 2]
    assert found[3] == 6
    for number in (-1, 5):
        assert found[number].what == "the encoder failed: INTERNAL: no such number"


def test_the_next_batch_is_started_before_one_is_fetched():
    tried: list[int] = []
    results = computed(BATCHES, doubled(8, tried), devices_of(1))
    np.testing.assert_array_equal(next(results)[1], 2 * np.arange(8))
    assert tried == [8, 8]
