"""Follow utterances through a small run, from audio to challenge files, by sys.setprofile.

    python benchmarks/utterance_way.py        # a JSON; benchmarks/structure.py --trace judges it

**The way** is the list of calls that a reader follows who asks what happens to one utterance: the
functions on the way, in the order in which they are first entered from another file. On the way are
the modules of the folders FOLDERS but for BESIDE, which keep records and plan resources. A call
within one file, a second call of a function, a property, a lambda, code that Python makes
(dataclasses), and all that is beside the way are not counted: a call from there counts as one of
the nearest caller that is on the way. Of these, **the way of the data** are the functions that take
or return utterances: tables, arrays, or an object of CARRIERS.

The command is `medusa run` with one member of one modality on a generated corpus that is there
already; log-mel frames are extracted, a DeepSER is trained for an epoch a stage, combined, and
written as a submission. Which functions run depends on the code alone, so the list is the same on
every machine with one process.

**The stack** is the list of functions of the project that are active when JAX first traces a
training step in `medusa train`: the calls from the command to the compiled step.
"""

import json
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import yaml
from source_tree import PACKAGES, properties_of, read_sources

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "audio",
    "corpus",
    "store",
    "features",
    "models",
    "batches",
    "tasks",
    "training",
    "ensemble",
    "runs",
    "submission",
}
BESIDE = {
    "checkpoint",
    "group_files",
    "ledger",
    "licences",
    "member_folder",
    "memory",
    "plan",
    "provenance",
    "tracking",
}
CARRIERS = {
    "Answers",
    "Batch",
    "Clip",
    "Corpus",
    "Examples",
    "FeatureStore",
    "MappedShard",
    "Predictions",
    "Utterances",
}
COMMAND = ("medusa_jax/cli/", ":train")
CONFIG: dict[str, Any] = {
    "name": "way",
    "corpus": {"source": "generated", "size": 120, "test_per_class": 5, "hold_out": 0.2},
    "features": {"logmel": {"extractor": "logmel", "bands": 16}},
    "model": {"hidden": 16, "feedforward": 16, "layers": 2, "stack": {"logmel": 16}},
    "training": {
        "batch_size": 8,
        "shapes": 1,
        "stage1": {"epochs": 1, "learning_rate": 1e-3},
        "stage2": {"epochs": 1, "learning_rate": 3e-4},
    },
    "members": [{"id": "speech", "modalities": ["logmel"], "seed": 1}],
    "ensemble": {"epochs": 2, "seeds": 2, "learning_rate": 1e-2},
    "submission": {"challenge": "interspeech2025"},
}


class Tracer:
    """Collects the way, and the stack above the first training step, while it is installed."""

    def __init__(self) -> None:
        self.way: dict[str, bool] = {}  # `FILE:FUNCTION` in the order of first calls: has data
        self.stack: list[str] = []
        self._places: dict[CodeType, str] = {}
        self._returning: dict[FrameType, str] = {}  # took no data, and may return some
        self._properties = properties_of(read_sources(ROOT, PACKAGES))

    def __enter__(self) -> "Tracer":
        threading.setprofile(self._event)
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]

    def _event(self, frame: FrameType, event: str, value: Any) -> None:
        if event == "return" and frame in self._returning:
            self.way[self._returning.pop(frame)] = carries(value)
        if event != "call":
            return
        place = self._place(frame.f_code)
        if not place:
            return
        if not self.stack and traces_step(place, frame):
            self.stack = self._stack(frame)
        if place not in self.way and on_the_way(place) and place not in self._properties:
            caller = self._caller(frame)
            if caller and caller.partition(":")[0] != place.partition(":")[0]:
                self.way[place] = any(map(carries, frame.f_locals.values()))
                if not self.way[place]:
                    self._returning[frame] = place

    def _place(self, code: CodeType) -> str:
        """`FILE:FUNCTION` of a function that stands in the project's sources, "" of others."""
        if code not in self._places:
            path, name = Path(code.co_filename), code.co_qualname
            own = path.is_relative_to(ROOT) and path.parts[len(ROOT.parts)] in PACKAGES
            written = own and not code.co_name.startswith("<")
            self._places[code] = f"{path.relative_to(ROOT)}:{name}" if written else ""
        return self._places[code]

    def _caller(self, frame: FrameType) -> str:
        """The nearest function above this frame that is on the way."""
        above = frame.f_back
        while above is not None:
            place = self._place(above.f_code)
            if place and on_the_way(place):
                return place
            above = above.f_back
        return ""

    def _stack(self, frame: FrameType) -> list[str]:
        """The project's functions from the command to this frame."""
        places = []
        above: FrameType | None = frame
        while above is not None:
            place = self._place(above.f_code)
            if place:
                places.insert(0, place)
            above = above.f_back
        path, name = COMMAND
        starts = [place.startswith(path) and place.endswith(name) for place in places]
        return places[starts.index(True) :] if True in starts else places


def on_the_way(place: str) -> bool:
    """Whether a function stands in a module that the data passes."""
    parts = Path(place.partition(":")[0]).with_suffix("").parts
    folder = parts[0] if parts[0] == "submission" else parts[1]
    return folder in FOLDERS and parts[-1] not in BESIDE


def carries(value: Any) -> bool:
    """Whether a value is utterances or holds them: a table, an array with an axis, a carrier."""
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return any(map(carries, value[:3]))
    name = type(value).__name__
    axes = 0 if name == "ShapeDtypeStruct" else getattr(value, "ndim", 0)
    array = isinstance(axes, int) and axes > 0 and "key" not in str(getattr(value, "dtype", ""))
    return array or name in CARRIERS


def traces_step(place: str, frame: FrameType) -> bool:
    """Whether JAX enters a function of training/ to trace it for a compiled program that trains."""
    other = "predict" in place or "draw" in place
    inside = place.startswith("medusa_jax/training/") and not other
    above, names = frame.f_back, set()
    while inside and above is not None and "/jax/" in above.f_code.co_filename:
        names.add(above.f_code.co_name)
        above = above.f_back
    return "cache_miss" in names


def medusa(*arguments: str) -> None:
    """The command `medusa` in this process, its output thrown away."""
    from medusa_jax.cli.app import app

    with open("/dev/null", "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        app(list(arguments), standalone_mode=False)


def follow(folder: Path, command: Callable[..., None] = medusa) -> dict[str, list[str]]:
    """The way and the stack of the small run below `folder`."""
    file, out = folder / "way.yaml", str(folder / "runs")
    file.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    other = ["--set", "features.logmel.bands=8", "--set", "name=corpus"]
    command("extract", str(file), "--out", out, *other)  # generates the corpus
    with Tracer() as training:
        command("train", str(file), "--out", out, "--set", "model.hidden=8", *other[:2])
    with Tracer() as whole:
        command("run", str(file), "--out", out)
    data = [place for place, carried in whole.way.items() if carried]
    return {"way": list(whole.way), "data": data, "stack": training.stack}


def main() -> None:
    """Print both as one line of JSON."""
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(follow(Path(folder))))


if __name__ == "__main__":
    main()
