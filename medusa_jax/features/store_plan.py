"""The plan and the name of the store that a corpus and an extractor make."""

from medusa_jax.config.features import ExtractorConfig
from medusa_jax.config.transcription import TranscriptionConfig
from medusa_jax.corpus.table import Corpus
from medusa_jax.errors import FeatureError
from medusa_jax.features.extractor import Extractor
from medusa_jax.files import digest_of
from medusa_jax.store.ledger import Plan


def store_name(corpus: Corpus, extractor: Extractor) -> str:
    """Return the store's folder name, unique to the input, the extractor and its settings."""
    settings = digest_of(extractor.identity())
    return f"{extractor.name}-{inputs_digest(corpus, extractor)[:8]}-{settings[:8]}"


def inputs_digest(corpus: Corpus, extractor: Extractor) -> str:
    """Return the hex SHA-256 of the extractor's input: ids, with audio paths or transcripts.

    This is not the table's own digest: other soft labels must not repeat a night of extraction.
    """
    names = {"audio": "audio", "text": "transcript", "frames": "id"}
    column = corpus.frame[names[extractor.reads]]
    rows = zip(column, column.isna(), strict=True)
    inputs = [None if missing else str(value) for value, missing in rows]
    return digest_of([corpus.name, extractor.reads, corpus.frame["id"].tolist(), inputs])


def plan_of(
    corpus: Corpus,
    config: ExtractorConfig | TranscriptionConfig,
    extractor: Extractor,
    shard_rows: int,
) -> Plan:
    """Plan the store. Raises `FeatureError` for a corpus without anything to extract from."""
    where = f"corpus {corpus.name!r}"
    if len(corpus) == 0:
        raise FeatureError("the corpus has no utterances", where=where)
    if extractor.reads == "text" and corpus.frame["transcript"].isna().all():
        raise FeatureError(
            f"{extractor.name} reads text, and no utterance has a transcript",
            where=where,
            hint="give the corpus transcripts",
        )
    if extractor.reads == "audio" and (corpus.frame["audio"] == "").all():
        raise FeatureError(
            f"{extractor.name} reads audio, and no utterance has any",
            where=where,
            hint="add the corpus's audio and build its table again, or use extractors of text",
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
