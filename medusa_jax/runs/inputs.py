"""From a configuration to the corpus, its feature stores, and who plays which part."""

from pathlib import Path

from medusa_jax.config.corpus import CorpusConfig
from medusa_jax.config.features import ExtractorConfig, StoreConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.corpus.training_labels import training_labels
from medusa_jax.errors import ConfigError, CorpusError, RunFolderError
from medusa_jax.progress import track
from medusa_jax.runs.provenance import known_provenance
from medusa_jax.runs.run import Run
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.share import Share


def load_corpus(run: Run) -> Corpus:
    """The run's table of utterances, transcribed if the run says so: made once, read from the run folder afterwards."""
    if not run.corpus_file.exists():
        transcribed(run, read_corpus(run.config.corpus, run.out)).save(run.corpus_file)
    return Corpus.load(run.corpus_file)


def read_corpus(config: CorpusConfig, out: Path) -> Corpus:
    """Read the corpus of the configuration, with the soft labels to train on.

    The generated corpus is made under `out/corpora` first.
    """
    return training_labels(
        _with_words(config, out),
        dropout=config.annotator_dropout,
        reweighted=config.reweight,
        seed=config.seed,
    )


def _with_words(config: CorpusConfig, out: Path) -> Corpus:
    """The corpus with the transcripts of the configuration."""
    from medusa_jax.store.ledger import PLAN
    from medusa_jax.transcription.transcripts import with_transcripts

    given = Path(config.transcripts).expanduser() if config.transcripts else None
    if given is None or not (given / PLAN).is_file():
        return _read_source(config, out, given)
    return with_transcripts(_read_source(config, out, None), FeatureStore.open(given))


def _read_source(config: CorpusConfig, out: Path, transcripts: Path | None) -> Corpus:
    if config.source == "generated":
        return _generated(config, out)
    root = check_source(config)
    if config.source == "table":
        return Corpus.load(root)
    from medusa_jax.corpus.sources import read_source

    return read_source(config.source, root, soft_labels=config.soft_labels, transcripts=transcripts)


def transcribed(run: Run, corpus: Corpus) -> Corpus:
    """`corpus` with the words that the run's transcription hears, made where they are not there yet; as it is if the run has none.

    A warning names the splits that lack transcripts in either case where the corpus's own are taken.
    """
    from medusa_jax.features.extract import extract
    from medusa_jax.transcription.transcripts import warn_of_gaps, with_transcripts

    config = run.config.transcription
    if config is None:
        return corpus
    if config.backend == "corpus":
        warn_of_gaps(corpus)
        return corpus
    with track("transcribe") as report:
        store = extract(
            corpus,
            config,
            transcripts_folder(run, corpus),
            max_failures=run.config.corpus.max_failures,
            progress=report,
        )
    return with_transcripts(corpus, store)


def transcribe_share(run: Run, corpus: Corpus, share: Share) -> tuple[Path, tuple[int, ...]]:
    """One share of the run's transcripts: their folder and the shards that others still owe. Takes no lock on the run."""
    from medusa_jax.features.extract import extract_share

    config = run.config.transcription
    if config is None or config.backend == "corpus":
        hint = "add it, or --set transcription.backend=transformers"
        raise ConfigError(
            "this run has no model that transcribes, so there is nothing to share",
            where="transcription",
            hint=hint,
        )
    folder = transcripts_folder(run, corpus)
    with track(f"transcribe, share {share}") as report:
        return folder, extract_share(
            corpus,
            config,
            folder,
            share,
            max_failures=run.config.corpus.max_failures,
            progress=report,
        )


def transcripts_folder(run: Run, corpus: Corpus) -> Path:
    """Where the run's transcripts lie or will lie, shared by all runs under `out`."""
    from medusa_jax.features.registry import build_extractor
    from medusa_jax.features.store_plan import store_name

    if run.config.transcription is None:
        raise ConfigError(
            "this run has no transcription",
            where=run.config.name,
            hint="add the section `transcription`",
        )
    return run.out / "transcripts" / store_name(corpus, build_extractor(run.config.transcription))


def check_source(config: CorpusConfig) -> Path:
    """Where a corpus that is not generated lies. Raises `ConfigError` if `corpus.path` is not set, `CorpusError` if nothing is there."""
    if config.path is None:
        hint = "give the folder in which it lies: --set corpus.path=FOLDER"
        raise ConfigError(
            f"the corpus {config.source} is read from disk, and corpus.path does not say where it is",
            where="corpus.path",
            hint=hint,
        )
    root = Path(config.path).expanduser().resolve()
    if not root.exists():
        raise CorpusError(
            "there is no corpus here",
            where=root,
            hint="correct corpus.path, in the configuration or with --set corpus.path=FOLDER",
        )
    return root


def _generated(config: CorpusConfig, out: Path) -> Corpus:
    from medusa_jax.corpus.msp_podcast import read_msp_podcast
    from medusa_jax.synthetic.generate import ASR, generate

    folder = (
        Path(config.path).expanduser()
        if config.path
        else out / "corpora" / f"generated-{config.size}-{config.test_per_class}-{config.seed}"
    )
    root = generate(
        folder.resolve(), size=config.size, test_per_class=config.test_per_class, seed=config.seed
    )
    return read_msp_podcast(root, soft_labels=config.soft_labels, transcripts=root / ASR)


def load_stores(run: Run, corpus: Corpus, *, verify: bool = False) -> dict[str, FeatureStore]:
    """Every feature set of the configuration, extracted where it is not there yet; stores are shared by all runs under `out`.

    `verify`: read every byte of finished stores now, and redo what is damaged; otherwise each shard is checked when it is first
    read. Several processes of one run extract nothing: for them `StoreError` is raised if a store is not finished.
    """
    from medusa_jax.features.extract import extract
    from medusa_jax.machines.processes import several
    from medusa_jax.store.external import ready_store

    stores = {}
    allowed = run.config.corpus.max_failures
    for name, config in run.config.features.items():
        if isinstance(config, StoreConfig):
            stores[name] = ready_store(
                corpus,
                config,
                run.folder / f"failures-{name}.jsonl",
                max_failures=allowed,
                verify=verify,
            )
            _refuse_another(run, name, stores[name])
            continue
        if several():
            stores[name] = FeatureStore.open(store_folder(run, corpus, config))
            continue
        with track(f"extract {name}") as report:
            stores[name] = extract(
                corpus,
                config,
                store_folder(run, corpus, config),
                max_failures=allowed,
                verify=verify,
                progress=report,
            )
    return stores


def _refuse_another(run: Run, name: str, store: FeatureStore) -> None:
    """Raise `RunFolderError` if the run began with another store of this name: its path says nothing of what lies there."""
    known = known_provenance(run).get("stores", {}).get(name, store.digest)
    if known != store.digest:
        hint = "choose another --out for the new features, or put back the ones that were there"
        raise RunFolderError(
            f"this run began with other {name} features: store {known[:12]}, not {store.digest[:12]}",
            where=store.folder,
            hint=hint,
        )


def extract_shares(
    run: Run, corpus: Corpus, share: Share
) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """One share of every feature set that is to be extracted: by name its store's folder and the shards that others still owe.

    Takes no lock on the run: any number of processes may do this at once, and a scheduler may start them on several machines.
    """
    from medusa_jax.features.extract import extract_share

    missing = {}
    for name, config in run.config.features.items():
        if not isinstance(config, StoreConfig):
            folder = store_folder(run, corpus, config)
            with track(f"extract {name}, share {share}") as report:
                left = extract_share(
                    corpus,
                    config,
                    folder,
                    share,
                    max_failures=run.config.corpus.max_failures,
                    progress=report,
                )
            missing[name] = (folder, left)
    return missing


def store_folder(run: Run, corpus: Corpus, config: ExtractorConfig) -> Path:
    """Where the feature set lies or will lie."""
    from medusa_jax.features.registry import build_extractor
    from medusa_jax.features.store_plan import store_name

    return run.out / "features" / store_name(corpus, build_extractor(config))


def answers_of(corpus: Corpus) -> Path | None:
    """The file in which the corpus folder keeps its test set's hidden labels (the generated one does), if it does."""
    from medusa_jax.synthetic.generate import ANSWERS

    path = corpus.root / ANSWERS
    return path if path.is_file() else None
