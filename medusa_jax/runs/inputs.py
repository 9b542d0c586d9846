"""Read or make what a configuration names: the corpus, its transcripts and its features."""

from pathlib import Path

from medusa_jax.config.corpus import CorpusConfig
from medusa_jax.config.features import ExtractorConfig, StoreConfig
from medusa_jax.corpus.genders import with_genders
from medusa_jax.corpus.table import Corpus
from medusa_jax.corpus.training_labels import training_labels
from medusa_jax.errors import ConfigError, CorpusError, RunFolderError
from medusa_jax.progress import track
from medusa_jax.runs.provenance import known_provenance
from medusa_jax.runs.run import Run
from medusa_jax.store.ledger import PLAN
from medusa_jax.store.reader import FeatureStore
from medusa_jax.store.share import Share


def load_corpus(run: Run) -> Corpus:
    """Return the run's table of utterances, transcribed if so configured.

    It is made once and read from the run folder afterwards.
    """
    if not run.corpus_file.exists():
        transcribed(run, read_corpus(run.config.corpus, run.out)).save(run.corpus_file)
    return Corpus.load(run.corpus_file)


def read_corpus(config: CorpusConfig, out: Path) -> Corpus:
    """Read the corpus of the configuration, with the soft labels to train on.

    The generated corpus is made under `out/corpora` first.
    """
    corpus = _with_words(config, out)
    if config.genders:
        corpus = with_genders(corpus, Path(config.genders).expanduser())
    return training_labels(
        corpus,
        dropout=config.annotator_dropout,
        reweighted=config.reweight,
        seed=config.seed,
    )


def _with_words(config: CorpusConfig, out: Path) -> Corpus:
    """Read the corpus with the configured transcripts."""
    if config.transcript_store:
        from medusa_jax.transcription.transcripts import with_transcripts

        store = FeatureStore.open(Path(config.transcript_store).expanduser())
        return with_transcripts(_read_source(config, out, None), store)
    folder = Path(config.transcripts).expanduser() if config.transcripts else None
    if folder is not None and (folder / PLAN).is_file():
        raise ConfigError(
            "this folder is a store of transcripts, not of text files",
            where=f"corpus.transcripts: {folder}",
            hint=f"name it as corpus.transcript_store: --set corpus.transcript_store={folder}",
        )
    return _read_source(config, out, folder)


def _read_source(config: CorpusConfig, out: Path, transcripts: Path | None) -> Corpus:
    if config.source == "generated":
        return _generated(config, out)
    root = check_source(config)
    if config.source == "table":
        return Corpus.load(root)
    from medusa_jax.corpus.sources import read_source

    return read_source(
        config.source,
        root,
        soft_labels=config.soft_labels,
        transcripts=transcripts,
        label_set=config.label_set,
        merge_excited=config.merge_excited,
    )


def transcribed(run: Run, corpus: Corpus) -> Corpus:
    """Return `corpus` with the run's transcripts, or unchanged if the run has none of its own."""
    from medusa_jax.transcription.transcripts import with_transcripts

    store = transcripts_of(run, corpus)
    return corpus if store is None else with_transcripts(corpus, store)


def transcripts_of(run: Run, corpus: Corpus) -> FeatureStore | None:
    """Transcribe the corpus, unless that is done, and return the store of transcripts.

    None if the run uses the corpus's own; if so configured, a warning names the splits with gaps.
    """
    from medusa_jax.features.extract import extract
    from medusa_jax.transcription.transcripts import warn_of_gaps

    config = run.config.transcription
    if config is None:
        return None
    if config.backend == "corpus":
        warn_of_gaps(corpus)
        return None
    with track("transcribe") as report:
        return extract(
            corpus,
            config,
            run.transcripts_folder,
            max_failures=run.config.corpus.max_failures,
            progress=report,
        )


def transcribe_share(run: Run, corpus: Corpus, share: Share) -> tuple[Path, tuple[int, ...]]:
    """Make one share of the run's transcripts; return their folder and the shards still missing.

    Takes no lock on the run.
    """
    from medusa_jax.features.extract import extract_share

    config = run.config.transcription
    if config is None or config.backend == "corpus":
        raise ConfigError(
            "this run has no transcription model, so nothing can be shared",
            where="transcription",
            hint="add one: --set transcription.backend=auto",
        )
    with track(f"transcribe, share {share}") as report:
        return extract_share(
            corpus,
            config,
            run.transcripts_folder,
            share,
            max_failures=run.config.corpus.max_failures,
            progress=report,
        )


def check_source(config: CorpusConfig) -> Path:
    """Return the folder or file of a corpus on disk.

    Raises `ConfigError` if `corpus.path` is not set, `CorpusError` if nothing is there.
    """
    if config.path is None:
        raise ConfigError(
            f"the corpus {config.source} is read from disk, and corpus.path is not set",
            where="corpus.path",
            hint="give its folder: --set corpus.path=FOLDER",
        )
    root = Path(config.path).expanduser().resolve()
    if not root.exists():
        raise CorpusError(
            "no corpus here",
            where=root,
            hint="correct corpus.path, in the configuration or with --set corpus.path=FOLDER",
        )
    return root


def _generated(config: CorpusConfig, out: Path) -> Corpus:
    from medusa_jax.corpus.msp_podcast import read_msp_podcast
    from medusa_jax.synthetic.conversations import generate_conversations
    from medusa_jax.synthetic.folder import ASR
    from medusa_jax.synthetic.generate import generate

    size, per_class, seed = config.size, config.test_per_class, config.seed
    name = f"conversations-{size}-{seed}" if config.conversations else None
    name = name or f"generated-{size}-{per_class}-{seed}"
    root = (Path(config.path).expanduser() if config.path else out / "corpora" / name).resolve()
    if config.conversations:
        generate_conversations(root, size=size, seed=seed)
    else:
        generate(root, size=size, test_per_class=per_class, seed=seed)
    return read_msp_podcast(root, soft_labels=config.soft_labels, transcripts=root / ASR)


def load_stores(run: Run, corpus: Corpus, *, verify: bool = False) -> dict[str, FeatureStore]:
    """Return every feature set of the configuration, extracted unless that is done.

    Stores are shared by all runs under `out`. With `verify`, every byte of finished stores is read
    now and damaged shards are made again; otherwise shards are checked in the background, and at
    the latest when first read. Several processes of one run extract nothing: they raise
    `StoreError` if a store is unfinished.
    """
    stores = {}
    for name, config in _in_order(run):
        if isinstance(config, StoreConfig):
            stores[name] = _external_store(run, name, config, corpus, verify)
        else:
            stores[name] = _extracted_store(run, name, config, corpus, verify)
        if not verify:
            stores[name].verify_ahead()
    return {name: stores[name] for name in run.config.features}


def _in_order(run: Run) -> list[tuple[str, ExtractorConfig | StoreConfig]]:
    """The feature sets, first those whose library runs in a process of its own on the GPU: JAX
    holds most of it once a model runs there.
    """
    from medusa_jax.features.own_process import wants_own_process
    from medusa_jax.features.registry import build_extractor

    first: list[tuple[str, ExtractorConfig | StoreConfig]] = []
    rest: list[tuple[str, ExtractorConfig | StoreConfig]] = []
    for name, config in run.config.features.items():
        own = not isinstance(config, StoreConfig) and wants_own_process(
            config, build_extractor(config)
        )
        (first if own else rest).append((name, config))
    return first + rest


def _external_store(
    run: Run, name: str, config: StoreConfig, corpus: Corpus, verify: bool
) -> FeatureStore:
    from medusa_jax.store.external import ready_store

    store = ready_store(
        corpus,
        config,
        run.failures_file(name),
        max_failures=run.config.corpus.max_failures,
        verify=verify,
    )
    hint = "choose another --out for the new features, or put back the earlier ones"
    _refuse_another(run, name, store, hint)
    return store


def _extracted_store(
    run: Run, name: str, config: ExtractorConfig, corpus: Corpus, verify: bool
) -> FeatureStore:
    from medusa_jax.features.extract import extract, open_extracted
    from medusa_jax.machines.processes import several

    if several():
        store = open_extracted(corpus, config, run.features_folder)
    else:
        with track(f"extract {name}") as report:
            store = extract(
                corpus,
                config,
                run.features_folder,
                max_failures=run.config.corpus.max_failures,
                verify=verify,
                progress=report,
            )
    if "backend" in store.plan.extractor:  # the run may have begun with PyTorch's rounded numbers
        setting = f"--set features.{name}.backend=torch"
        hint = f"to go on with PyTorch's: {setting}; otherwise choose another --out"
        _refuse_another(run, name, store, hint)
    return store


def _refuse_another(run: Run, name: str, store: FeatureStore, hint: str) -> None:
    """Raise `RunFolderError` if the run began with another store of this name."""
    known = known_provenance(run).get("stores", {}).get(name, store.digest)
    if known != store.digest:
        raise RunFolderError(
            f"this run began with other {name} features: "
            f"store {known[:12]}, not {store.digest[:12]}",
            where=store.folder,
            hint=hint,
        )


def extract_shares(
    run: Run, corpus: Corpus, share: Share
) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """Make one share of every feature set; return, by name, its folder and the missing shards.

    Takes no lock on the run, so any number of processes on several machines may do this at once.
    """
    from medusa_jax.features.extract import extract_share

    made = {}
    for name, config in _in_order(run):
        if isinstance(config, StoreConfig):
            continue
        with track(f"extract {name}, share {share}") as report:
            made[name] = extract_share(
                corpus,
                config,
                run.features_folder,
                share,
                max_failures=run.config.corpus.max_failures,
                progress=report,
            )
    return made


def answers_of(corpus: Corpus) -> Path | None:
    """Return the file with the test set's hidden labels, if the corpus folder has one.

    The generated corpus does.
    """
    from medusa_jax.synthetic.generate import ANSWERS

    path = corpus.root / ANSWERS
    return path if path.is_file() else None
