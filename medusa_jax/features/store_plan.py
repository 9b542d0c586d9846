"""Which store a corpus and an extractor make: its plan and its name."""

from medusa_jax.config.features import ExtractorConfig
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import FeatureError
from medusa_jax.features.extractor import Extractor
from medusa_jax.files import digest_of
from medusa_jax.store.ledger import Plan


def store_name(corpus: Corpus, extractor: Extractor) -> str:
    """Folder name of the store: two corpora, two extractors or two settings never share one."""
    return f"{extractor.name}-{inputs_digest(corpus, extractor)[:8]}-{digest_of(extractor.identity())[:8]}"


def inputs_digest(corpus: Corpus, extractor: Extractor) -> str:
    """Hex SHA-256 of what the extractor is given: ids, with audio paths or with transcripts.

    Not the table's own digest: another soft-label variant must not cost another night of extraction.
    """
    column = corpus.frame["audio" if extractor.reads == "audio" else "transcript"]
    inputs = [
        None if missing else str(value)
        for value, missing in zip(column, column.isna(), strict=True)
    ]
    return digest_of([corpus.name, extractor.reads, corpus.frame["id"].tolist(), inputs])


def plan_of(
    corpus: Corpus,
    config: ExtractorConfig | TranscriptionConfig,
    extractor: Extractor,
    shard_rows: int,
) -> Plan:
    """What the store will hold. Raises `FeatureError` for a corpus that has nothing to extract from."""
    where = f"corpus {corpus.name!r}"
    if len(corpus) == 0:
        raise FeatureError("the corpus has no utterances", where=where)
    if extractor.reads == "text" and corpus.frame["transcript"].isna().all():
        raise FeatureError(
            f"{extractor.name} reads text, and no utterance has a transcript",
            where=where,
            hint="give the corpus transcripts",
        )
    return Plan(
        extractor=extractor.identity(),
        corpus=corpus.name,
        inputs=inputs_digest(corpus, extractor),
        width=extractor.width,
        dtype=config.dtype,
        utterances=len(corpus),
        shard_rows=shard_rows,
    )
