"""One shard from its rows of the corpus: in order, in bounded memory, one bad file at a time."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np

from medusa_jax.corpus.audio import load_audio
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import DependencyError, FeatureError, MedusaError
from medusa_jax.features.extractor import Extractor
from medusa_jax.features.ledger import Entry, Failure, Plan, shard_path
from medusa_jax.features.shard import BATCH_ROWS, Clip, MappedShard, as_stored, write_batches
from medusa_jax.files import write_whole


class ShardMaker:
    """Writes the shards of one plan; `advance(rows)` is called as they are done."""

    def __init__(self, corpus: Corpus, extractor: Extractor, plan: Plan, pool: ThreadPoolExecutor, advance: Callable[[int], None]) -> None:
        self._corpus, self._extractor, self._plan, self._pool, self._advance = corpus, extractor, plan, pool, advance
        self._made_with = {name: version(name) for name in ("medusa-jax", *extractor.packages)}

    def make(self, folder: Path, shard: int) -> Entry:
        """Write the file of shard number `shard` and return its entry, which the caller writes: until then the shard does not count."""
        ids: list[str] = []
        lengths: list[int] = []
        failed: list[Failure] = []
        clipped = 0

        def batches() -> Iterator[list[Clip]]:
            nonlocal clipped
            for results in self._results(self._plan.rows(shard)):
                clips = [result for result in results if isinstance(result, Clip)]
                failed.extend(result for result in results if isinstance(result, Failure))
                ids.extend(clip.id for clip in clips)
                lengths.extend(len(clip.frames) for clip in clips)
                clipped += sum(clip.clipped for clip in clips)
                if clips:
                    yield clips

        path = shard_path(folder, shard)
        with write_whole(path) as temporary:
            write_batches(temporary, batches())
        return Entry(
            plan=self._plan.digest(),
            shard=shard,
            size=path.stat().st_size,
            sha256=MappedShard(path).sha256(),
            ids=tuple(ids),
            lengths=tuple(lengths),
            failed=tuple(failed),
            clipped=clipped,
            made_with=self._made_with,
        )

    def _results(self, rows: range) -> Iterator[list[Clip | Failure]]:
        """A batch at a time, so that only its frames are in memory, in the corpus's order whatever the number of threads."""
        for start in range(rows.start, rows.stop, BATCH_ROWS):
            batch = range(start, min(start + BATCH_ROWS, rows.stop))
            yield list(self._pool.map(self._result, batch))
            self._advance(len(batch))

    def _result(self, row: int) -> Clip | Failure:
        id = str(self._corpus.frame["id"].iat[row])
        try:
            frames_td = self._extractor([self._input(row)])[0]
            self._check(frames_td)
            return as_stored(id, frames_td, self._plan.dtype)
        except DependencyError:
            raise
        except Exception as error:  # whatever one file does to a decoder or a model, the others go on
            message = error.what if isinstance(error, MedusaError) else str(error)
            return Failure(id=id, audio=str(self._corpus.frame["audio"].iat[row]), error=type(error).__name__, message=message)

    def _input(self, row: int) -> np.ndarray | str:
        if self._extractor.reads == "audio":
            return load_audio(self._corpus.audio_path(row))
        text = self._corpus.frame["transcript"].iat[row]
        if not isinstance(text, str):
            raise FeatureError("the utterance has no transcript")
        return text

    def _check(self, frames_td: np.ndarray) -> None:
        if frames_td.ndim != 2 or len(frames_td) == 0 or frames_td.shape[1] != self._plan.width:
            raise FeatureError(f"the extractor gave frames of shape {frames_td.shape}, not [t, {self._plan.width}]")
        if not np.isfinite(frames_td).all():
            raise FeatureError(f"the extractor gave NaN or infinity in {int((~np.isfinite(frames_td)).any(axis=1).sum())} of {len(frames_td)} frames")
