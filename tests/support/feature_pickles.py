"""Generated feature files of IEMOCAP and MELD in every layout that circulates, and their pickles.

Nothing in them comes from the corpora but the numbers of dialogues, utterances and features.
"""

import io
import pickle
from types import FunctionType
from typing import Any

import numpy as np
from python2_pickle import Python2Pickler

IEMOCAP = {"audio": 1582, "visual": 342}
MELD = {"audio": 300, "visual": 342}
LAYOUTS = (
    "IEMOCAP_features.pkl",
    "iemocap_features_roberta.pkl",
    "iemocap_multimodal_features.pkl",
    "MELD_features_raw1.pkl",
    "meld_features_roberta.pkl",
    "meld_multimodal_features.pkl",
)
TRUE = {"iemocap": (120, 31, 7433), "meld": (1152, 280, 13708)}
"""Dialogues to train and to test on, and utterances, of the real corpora."""
SMALL = {"iemocap": (8, 2, 37), "meld": (24, 4, 71)}


class Conversations:
    """What the files of one corpus share: turns, speakers, labels, sentences and split."""

    def __init__(self, corpus: str, size: tuple[int, int, int], seed: int = 0) -> None:
        train, test, utterances = size
        count = train + test
        rng = np.random.default_rng(seed)
        names = _sessions(train, test) if corpus == "iemocap" else list(range(count))
        self.corpus, self.seed, self.names = corpus, seed, names
        self.turns = {
            name: utterances // count + (place < utterances % count)
            for place, name in enumerate(names)
        }
        classes = 6 if corpus == "iemocap" else 7
        self.labels = {
            name: rng.integers(classes, size=u).tolist() for name, u in self.turns.items()
        }
        self.speakers = {name: self._speakers(rng, u) for name, u in self.turns.items()}
        self.ids = {name: self._ids(name, u) for name, u in self.turns.items()}
        self.sentences = {
            name: [f"Turn {turn} of {name}, caf\xe9." for turn in range(u)]
            for name, u in self.turns.items()
        }
        self.train, self.test = names[:train], names[train:]
        self.development = self.train[-round(train * 114 / 1152) :]

    def _speakers(self, rng: np.random.Generator, u: int) -> list[Any]:
        if self.corpus == "iemocap":
            return ["MF"[place] for place in rng.integers(2, size=u)]
        return np.eye(9, dtype=int)[rng.integers(9, size=u)].tolist()

    def _ids(self, name: Any, u: int) -> list[Any]:
        if self.corpus == "iemocap":
            return [f"{name}_{self.speakers[name][turn]}{turn:03d}" for turn in range(u)]
        return list(range(u))

    def stream(self, role: str, width: int) -> dict[Any, np.ndarray]:
        """The features `[u, width]` of each dialogue, float32; equal for equal roles and seeds."""
        rng = np.random.default_rng([self.seed, len(role), width, ord(role[-1])])
        x_nd = rng.standard_normal((sum(self.turns.values()), width), dtype=np.float32)
        parts = np.split(x_nd, np.cumsum(list(self.turns.values()))[:-1])
        return dict(zip(self.names, parts, strict=True))


def _sessions(train: int, test: int) -> list[str]:
    """Names of dialogues: the training ones in sessions 1 to 4."""
    of_train = [f"Ses0{1 + i * 4 // train}{'FM'[i % 2]}_impro{i:03d}" for i in range(train)]
    return of_train + [f"Ses05{'FM'[i % 2]}_script{i:03d}" for i in range(test)]


def contents(layout: str, made: Conversations) -> tuple[Any, ...]:
    """The fields of a file, arrays in the forms that occur: a list a dialogue, or one array."""
    lists, whole = _listed, dict
    head = (made.ids, made.speakers, made.labels)
    roberta = tuple(whole(made.stream(f"text{part}", 1024)) for part in (1, 2, 3, 4))
    if layout == "IEMOCAP_features.pkl":
        streams = (lists(made.stream("glove", 100)), *_two(lists, made, IEMOCAP))
        return (*head, *streams, made.sentences, set(made.train), set(made.test))
    if layout == "MELD_features_raw1.pkl":
        streams = (lists(made.stream("glove", 600)), *_two(lists, made, MELD))
        return (*head, *streams, made.sentences, made.train, made.test, {0: [1]})
    if layout == "iemocap_features_roberta.pkl":
        return (made.ids, None, *roberta, None, None, None, None)
    if layout == "meld_features_roberta.pkl":
        train = made.train[: -len(made.development)]
        return (made.ids, None, None, *roberta, None, train, made.test, made.development)
    widths = IEMOCAP if layout.startswith("iemocap") else MELD
    streams = (*roberta, *_two(whole, made, widths))
    rest = (made.sentences, made.train, made.test)
    return (*head, *streams, *rest) if widths is IEMOCAP else (*head, *streams, *rest, None)


def _two(form: Any, made: Conversations, widths: dict[str, int]) -> list[Any]:
    return [form(made.stream(role, width)) for role, width in widths.items()]


def _listed(stream: dict[Any, np.ndarray]) -> dict[Any, list[np.ndarray]]:
    return {name: list(x_ud) for name, x_ud in stream.items()}


def conversations(layout: str, sizes: dict[str, tuple[int, int, int]] = SMALL) -> Conversations:
    corpus = "iemocap" if layout.lower().startswith("iemocap") else "meld"
    return Conversations(corpus, sizes[corpus])


class OldNumpyPickler(pickle._Pickler):
    """Writes the names of NumPy's modules as NumPy 1 did."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = getattr(obj, "__module__", None) or ""
        if not module.startswith("numpy._core"):
            super().save_global(obj, name)
            return
        module, name = module.replace("numpy._core", "numpy.core"), name or obj.__name__
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    dispatch = {**pickle._Pickler.dispatch, FunctionType: save_global}  # noqa: RUF012


def old_numpy(value: Any, protocol: int) -> bytes:
    file = io.BytesIO()
    OldNumpyPickler(file, protocol).dump(value)
    return file.getvalue()


FORMS = {
    "Python 2, protocol 0": lambda value: Python2Pickler(0).dumps(value),
    "Python 2, protocol 2": lambda value: Python2Pickler(2).dumps(value),
    **{
        f"Python 3, protocol {protocol}, {name}": lambda value, p=protocol, dump=dump: dump(
            value, p
        )
        for protocol in (2, 3, 4, 5)
        for name, dump in {"NumPy 1": old_numpy, "NumPy 2": pickle.dumps}.items()
    },
}
"""Every form of a pickle that is read, by name."""
