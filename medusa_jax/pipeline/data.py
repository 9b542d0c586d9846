"""From a configuration to the corpus, its feature stores, and who plays which part."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medusa_jax.config import CorpusConfig
from medusa_jax.corpus.splits import check_speakers_disjoint, hold_out, speaker_folds
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import ConfigError, CorpusError
from medusa_jax.features.store import FeatureStore
from medusa_jax.pipeline.run_folder import Run
from medusa_jax.progress import track


@dataclass(frozen=True)
class Parts:
    """Positions in the corpus: who a member learns from, who chooses its epoch, who is only predicted."""

    fit: np.ndarray
    held_out: np.ndarray
    rest: np.ndarray


def load_corpus(run: Run) -> Corpus:
    """The run's table of utterances: read from the corpus once, from the run folder afterwards."""
    if not run.corpus_file.exists():
        read_corpus(run.config.corpus, run.out).save(run.corpus_file)
    return Corpus.load(run.corpus_file)


def read_corpus(config: CorpusConfig, out: Path) -> Corpus:
    """Read the corpus that the configuration names; the generated one is made under `out/corpora` first."""
    if config.source == "generated":
        return _generated(config, out)
    root = check_source(config)
    if config.source == "table":
        return Corpus.load(root)
    from medusa_jax.corpus.sources import read_source

    transcripts = Path(config.transcripts).expanduser() if config.transcripts else None
    return read_source(config.source, root, soft_labels=config.soft_labels, transcripts=transcripts)


def check_source(config: CorpusConfig) -> Path:
    """Where a corpus that is not generated lies. Raises `ConfigError` if `corpus.path` is not set, `CorpusError` if nothing is there."""
    if config.path is None:
        mend = "give the folder in which it lies: --set corpus.path=FOLDER"
        raise ConfigError(f"the corpus {config.source} is read from disk, and corpus.path does not say where it is", where="corpus.path", mend=mend)
    root = Path(config.path).expanduser().resolve()
    if not root.exists():
        raise CorpusError("there is no corpus here", where=root, mend="correct corpus.path, in the configuration or with --set corpus.path=FOLDER")
    return root


def _generated(config: CorpusConfig, out: Path) -> Corpus:
    from medusa_jax.corpus.generated import ASR, generate
    from medusa_jax.corpus.msp_podcast import read_msp_podcast

    folder = Path(config.path).expanduser() if config.path else out / "corpora" / f"generated-{config.size}-{config.test_per_class}-{config.seed}"
    root = generate(folder.resolve(), size=config.size, test_per_class=config.test_per_class, seed=config.seed)
    return read_msp_podcast(root, soft_labels=config.soft_labels, transcripts=root / ASR)


def load_stores(run: Run, corpus: Corpus) -> dict[str, FeatureStore]:
    """Every feature set of the configuration, extracted where it is not there yet; stores are shared by all runs under `out`."""
    from medusa_jax.features.extract import extract, store_name
    from medusa_jax.features.registry import build_extractor

    stores = {}
    for name, config in run.config.features.items():
        folder = run.out / "features" / store_name(corpus, build_extractor(config))
        with track(f"extract {name}") as report:
            stores[name] = extract(corpus, config, folder, max_failures=run.config.corpus.max_failures, progress=report)
    return stores


def parts_of(run: Run, corpus: Corpus) -> list[Parts]:
    """One entry a fold, or one for the corpus's own splits; no speaker plays two parts (house promise 7)."""
    config = run.config.corpus
    if config.folds is None:
        return [_parts(corpus, config)]
    fold_n = speaker_folds(corpus, config.folds)
    splits = [np.where(fold_n == fold, "test1", "train") for fold in range(config.folds)]
    return [_parts(replace(corpus, frame=corpus.frame.assign(split=split)), config) for split in splits]


def _parts(corpus: Corpus, config: CorpusConfig) -> Parts:
    held = hold_out(corpus, config.hold_out, config.seed)
    fit = (corpus.frame["split"] == "train").to_numpy() & ~held
    check_speakers_disjoint(corpus, fit, held, ~(fit | held))
    return Parts(np.flatnonzero(fit), np.flatnonzero(held), np.flatnonzero(~(fit | held)))


def answers_of(corpus: Corpus) -> Path | None:
    """The file in which the corpus folder keeps its test set's hidden labels (the generated one does), if it does."""
    from medusa_jax.corpus.generated import ANSWERS

    path = corpus.root / ANSWERS
    return path if path.is_file() else None
