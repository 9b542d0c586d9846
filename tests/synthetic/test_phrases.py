"""Generated transcripts: words that carry part of the emotion, and recognition errors."""

import numpy as np

from medusa_jax.corpus.labels import CLASSES
from medusa_jax.synthetic import phrases


def test_words_carry_part_of_the_emotion_and_recognition_makes_some_errors() -> None:
    rng = np.random.default_rng(1)
    texts = {name: [phrases.utterance_text(name, 0.0, rng) for _ in range(400)] for name in CLASSES}
    shown = {
        name: np.mean(
            [
                any(remark.lower() in text.lower() for remark in phrases._REMARKS[name])
                for text in texts[name]
            ]
        )
        for name in CLASSES
    }
    assert all(0.6 < shown[name] < 0.9 for name in CLASSES if name != "neutral"), shown
    everything = [text for group in texts.values() for text in group]
    words = {
        word for text in everything for word in text.lower().strip(".").replace(",", "").split()
    }
    assert 300 < len(words) < 700
    changed = np.mean([phrases.recognised(text, rng) != text for text in everything])
    lengths = np.mean(
        [abs(len(phrases.recognised(text, rng).split()) - len(text.split())) for text in everything]
    )
    assert 0.2 < changed < 0.7
    assert lengths < 1
