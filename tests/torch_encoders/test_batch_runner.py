"""An utterance's features do not depend on its batch, for every architecture and precision."""

import functools
import logging

import numpy as np
import pytest
from small_corpus import RATE, waves

from medusa_jax.audio.chunks import Piece, batches, chunks
from medusa_jax.errors import FeatureError

torch = pytest.importorskip("torch")
from small_models import (  # noqa: E402
    ALL_TEXT,
    SENTENCES,
    SPEECH,
    SPEECH_KIN,
    WHISPER,
    extractor_of,
    save_model,
)

from medusa_jax.torch_encoders.batch_runner import Runner  # noqa: E402
from medusa_jax.torch_encoders.device import Placement  # noqa: E402

MODELS = [(name, {}) for name in (*SPEECH, *SPEECH_KIN, *WHISPER, *ALL_TEXT)] + [
    ("whisper", {"window": "real"})
]
IDS = [f"{name} {settings}" if settings else name for name, settings in MODELS]
# Neither of these can be batched with padding, so that there is no mask to leave out.
UNPADDED = {"data2vec-audio", "hubert-batch-norm"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder of a saved model by name, made once."""
    return functools.cache(lambda name: save_model(name, tmp_path_factory.mktemp("models") / name))


def inputs_of(name):
    """Of very unequal lengths, two of them equal, and more than one batch."""
    if name in ALL_TEXT:
        return [*SENTENCES, "well", "x" * 40, "yes?"]
    noise = waves(4, longest=1.0)
    return [
        *noise[:2],
        noise[0][::-1].copy(),
        noise[2],
        np.concatenate(noise)[:30_000],
        noise[3][:500],
    ]


def alone_and_together(saved, name, **settings):
    """All frames one after another: each input alone; all of them in two or three batches."""
    extractor, inputs = (
        extractor_of(
            saved(name),
            "sum_last_4",
            batch_seconds=3.0 if name not in ALL_TEXT else 1.0,
            **settings,
        ),
        inputs_of(name),
    )
    alone = [extractor([one])[0] for one in inputs]
    together = extractor(inputs)
    assert [len(frames) for frames in alone] == [len(frames) for frames in together]
    return np.concatenate(alone), np.concatenate(together)


@pytest.mark.parametrize(("name", "settings"), MODELS, ids=IDS)
def test_features_do_not_depend_on_the_batch(saved, name, settings):
    alone, together = alone_and_together(saved, name, **settings)
    np.testing.assert_allclose(together, alone, atol=1e-5 * np.abs(alone).max(), rtol=0)


@pytest.mark.parametrize(
    ("name", "settings"),
    [model for model in MODELS if model[0] not in UNPADDED and model != ("whisper", {})],
)
def test_without_the_mask_they_would(saved, name, settings, monkeypatch):
    monkeypatch.setattr(Placement, "mask", lambda self, lengths: None)
    alone, together = alone_and_together(saved, name, **settings)
    assert np.abs(together - alone).max() > 1e-3 * np.abs(alone).max()


def test_padding_would_change_a_group_norm(saved, monkeypatch):
    """So its front end gets inputs of equal length only; its transformer is masked."""
    extractor = extractor_of(saved("wavlm-base"))
    extractor.prepare()
    alone = [extractor([one])[0] for one in inputs_of("wavlm-base")]
    extractor._encoder._grouped = False
    assert (
        max(
            np.abs(one - two).max()
            for one, two in zip(alone, extractor(inputs_of("wavlm-base")), strict=True)
        )
        > 1e-3
    )


@pytest.mark.parametrize("name", sorted(UNPADDED))
def test_what_no_mask_can_help_is_batched_among_equal_lengths(saved, name):
    extractor = extractor_of(saved(name))
    extractor.prepare()
    alone = [extractor([one])[0] for one in inputs_of(name)]
    extractor._encoder.alike = False
    assert (
        max(
            np.abs(one - two).max()
            for one, two in zip(alone, extractor(inputs_of(name)), strict=True)
        )
        > 1e-3
    )


@pytest.mark.parametrize("compute", ["bfloat16", "float16"])
@pytest.mark.parametrize(("name", "settings"), MODELS, ids=IDS)
def test_in_half_precision_the_batch_changes_no_more_than_the_rounding_does(
    saved, name, settings, compute
):
    exact, _ = alone_and_together(saved, name, **settings)
    alone, together = alone_and_together(saved, name, compute=compute, **settings)
    rounding = np.sqrt(((alone - exact) ** 2).mean())
    assert 0 < rounding < 0.05 * np.abs(exact).max()
    assert np.sqrt(((together - alone) ** 2).mean()) < rounding


def test_bits_do_not_depend_on_the_order_or_the_number_of_cores(saved):
    inputs = inputs_of("wavlm-large")
    extractor = extractor_of(saved("wavlm-large"), batch_seconds=2.0)
    expected, cores = extractor(inputs), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        on_one = extractor(inputs)
    finally:
        torch.set_num_threads(cores)
    for one, two, three in zip(expected, on_one, extractor(inputs[::-1])[::-1], strict=True):
        assert np.array_equal(one, two)
        assert np.array_equal(one, three)
    assert torch.get_num_threads() == cores


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_cuda_they_are_those_of_the_cpu(saved):
    for name, settings in MODELS:
        (_, cpu), (alone, together) = (
            alone_and_together(saved, name, device=device, **settings) for device in ("cpu", "cuda")
        )
        np.testing.assert_allclose(alone, cpu, atol=1e-4 * np.abs(cpu).max(), rtol=0, err_msg=name)
        np.testing.assert_allclose(
            together, cpu, atol=1e-4 * np.abs(cpu).max(), rtol=0, err_msg=name
        )


# Whisper's real length


def test_whisper_of_the_real_length_is_near_the_padded_window_and_equal_where_it_is_full(saved):
    wave = (np.random.default_rng(3).standard_normal(RATE) * 0.1).astype(np.float32)
    for samples, least, most in ((RATE, 0.0, 1e-5), (RATE // 2, 1e-4, 0.2)):
        full, real = (
            extractor_of(saved("whisper"), window=window)([wave[:samples]])[0]
            for window in ("full", "real")
        )
        assert full.shape == real.shape
        difference = np.sqrt(((full - real) ** 2).mean()) / full.std()
        assert least <= difference < most


# Batches and chunks: arithmetic


def piece(size):
    return Piece(np.zeros(size), size, slice(0, size), size)


@pytest.mark.parametrize("alike", [False, True])
def test_batches_hold_each_piece_once_within_their_budget(alike):
    pieces = [piece(int(size)) for size in np.random.default_rng(0).integers(1, 60, 200)]
    made = batches(pieces, 200, alike=alike)
    assert sorted(map(id, pieces)) == sorted(id(one) for batch in made for one in batch)
    for batch in made:
        assert len(batch) == 1 or max(one.size for one in batch) * len(batch) <= 200
        assert not alike or len({one.size for one in batch}) == 1
    if not alike:
        padding = sum(batch[0].size * len(batch) for batch in made) / sum(
            one.size for one in pieces
        )
        assert padding < 1.05, "neighbours in length stand together"
    assert [len(batch) for batch in batches([piece(900)], 200, alike=alike)] == [1]
    assert batches([], 200, alike=alike) == []


@pytest.mark.parametrize(("chunk", "overlap"), [(50, 0), (50, 1), (50, 20), (51, 25), (1, 0)])
def test_chunks_keep_every_frame_once_with_context_on_both_sides(chunk, overlap):
    for frames in (1, chunk, chunk + 1, 2 * chunk, 333):
        made = chunks(frames, chunk, overlap)
        assert [frame for part, keep in made for frame in list(part)[keep]] == list(range(frames))
        assert all(len(part) <= chunk for part, _ in made)
        assert len(made) == 1 or all(keep.start >= overlap // 2 for _, keep in made[1:])
        assert (len(made) == 1) == (frames <= chunk)


# When memory runs out, and when a piece breaks the model


def _runner(broken, error):
    def forward(pieces):
        if broken(pieces):
            raise error
        return torch.tensor(
            [[[float(one.size)]] * one.frames + [[-1.0]] * (60 - one.frames) for one in pieces]
        )

    return Runner(forward, Placement("cpu", "float32"))


def test_a_batch_that_does_not_fit_is_halved_until_it_does(caplog):
    pieces = [piece(size) for size in (9, 7, 5, 3, 2)]
    with caplog.at_level(logging.WARNING):
        made = dict(
            _runner(lambda batch: len(batch) > 2, torch.OutOfMemoryError("CUDA out of memory"))(
                [pieces]
            )
        )
    for one in pieces:
        np.testing.assert_array_equal(made[one], np.full((one.size, 1), one.size))
    assert "halved" in caplog.text
    assert "batch_seconds" in caplog.text


def test_fetching_each_batch_after_the_next_was_launched_loses_none():
    """The order of work on CUDA, here on the CPU."""
    runner, made = (
        _runner(lambda batch: len(batch) > 2, torch.OutOfMemoryError("CUDA out of memory")),
        [[piece(3), piece(2)], [piece(9)], [piece(1)] * 5],
    )
    fetched = list(runner._overlapped(made))
    assert [len(pieces) for pieces, _, _ in fetched] == [2, 1, 2, 1, 2]
    assert [frames[0, 0, 0] for _, frames, _ in fetched] == [3, 9, 1, 1, 1]


def test_one_that_never_fits_is_an_error_that_names_the_setting():
    made = dict(
        _runner(lambda batch: batch[0].size == 9, torch.OutOfMemoryError("CUDA out of memory"))(
            [[piece(9)], [piece(3)]]
        )
    )
    errors = [result for result in made.values() if isinstance(result, FeatureError)]
    assert len(errors) == 1
    assert "batch_seconds" in errors[0].hint
    assert "chunk_seconds" in errors[0].hint


def test_a_piece_that_breaks_the_model_takes_no_neighbour_with_it():
    pieces = [piece(size) for size in (9, 8, 7, 6, 5)]
    made = dict(
        _runner(lambda batch: any(one.size == 7 for one in batch), RuntimeError("shapes"))([pieces])
    )
    assert [isinstance(made[one], FeatureError) for one in pieces] == [
        False,
        False,
        True,
        False,
        False,
    ]
    assert "shapes" in made[pieces[2]].what
