"""The steps of a run, each one importable function; a step that is done is not done again.

corpus → `extract` → `train` (Stages 1 and 2) → `ensemble` (Stages 3 and 4) → `evaluate` → `submit`; `chain.run_all` does them all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from medusa_jax.config import MemberConfig, digest_of
from medusa_jax.corpus.table import Corpus
from medusa_jax.ensemble import meta
from medusa_jax.ensemble.outputs import Outputs, majority_vote, soft_vote, stacked
from medusa_jax.errors import EvaluationError
from medusa_jax.features.store import FeatureStore
from medusa_jax.models import meta_classifier
from medusa_jax.pipeline.data import Parts, load_corpus, load_stores, parts_of
from medusa_jax.pipeline.run_folder import Run, keep_provenance
from medusa_jax.progress import track
from medusa_jax.training.examples import Examples, gather
from medusa_jax.training.member import train_member

MAJORITY, SOFT, SINGLE, SOUP = "majority_vote", "soft_vote", "meta_classifier", "soup"
ENSEMBLES = (MAJORITY, SOFT, SINGLE, SOUP)


@dataclass(frozen=True)
class Prepared:
    """A run's corpus, stores and parts: what every step starts from."""

    run: Run
    corpus: Corpus
    stores: Mapping[str, FeatureStore]
    folds: list[Parts]


def prepare(run: Run, *, features: bool = True) -> Prepared:
    """Corpus, parts and (unless a step needs none) features, made where they are not there yet; `provenance.json` names them."""
    corpus = load_corpus(run)
    folds = parts_of(run, corpus)
    stores = load_stores(run, corpus) if features else {}
    known = {"stores": {name: store.digest for name, store in stores.items()}} if features else {}
    keep_provenance(run, corpus=corpus.digest(), **known)
    return Prepared(run, corpus, stores, folds)


def train(prepared: Prepared) -> None:
    """Stages 1 and 2 of every member in every fold, and each member's outputs for the whole corpus."""
    run = prepared.run
    pending = [(m, fold) for m in run.config.members for fold in range(len(prepared.folds)) if not _outputs_file(run, fold, m.id).exists()]
    examples: dict[str, Examples] = {}
    for member, fold in pending:
        key = _data_key(member)
        if key not in examples:
            examples[key] = _examples(prepared, member)
        data = examples[key]
        title = f"train {member.id}" + (f", fold {fold + 1} of {len(prepared.folds)}" if len(prepared.folds) > 1 else "")
        parts, folder = prepared.folds[fold], run.member_folder(fold, member.id)
        with track(title) as report:
            trained = train_member(member, data, parts.fit, parts.held_out, folder, seed=run.config.seed, report=report)
        logits, attributes = trained.predict(data, np.arange(len(data)))
        classes = prepared.corpus.classes  # the bucket `other`, where there is one, is trained but never predicted
        Outputs(tuple(prepared.corpus.frame["id"]), classes, logits[:, : len(classes)], attributes).save(_outputs_file(run, fold, member.id))


def ensemble(prepared: Prepared) -> None:
    """Votes, the meta-classifier of one seed, and the soup, in every fold."""
    run, corpus = prepared.run, prepared.corpus
    config = run.config.ensemble
    for fold, parts in enumerate(prepared.folds):
        folder = run.fold_folder(fold) / "ensemble"
        if all((folder / f"{name}.parquet").exists() for name in ENSEMBLES):
            continue
        members = [member_outputs(run, corpus, fold, member.id) for member in run.config.members]
        logits, attributes = stacked(members)
        x_nf = np.asarray(meta_classifier.features_of(jnp.asarray(logits), jnp.asarray(attributes) if config.attributes else None))
        learn, select = (parts.fit, parts.held_out) if config.fit_on == "train" else (parts.held_out, None)
        found = meta.fit(x_nf, _targets(corpus), corpus.classes, learn, select, config, run.config.seed)
        found.save(folder / "checkpoints", digest_of([config.model_dump(mode="json"), run.config.digest()]))
        majority_vote(members).save(folder / f"{MAJORITY}.parquet")
        soft_vote(members).save(folder / f"{SOFT}.parquet")
        for name, params in ((SINGLE, found.single()), (SOUP, found.soup())):
            class_logits, predicted = meta_classifier.forward(params, jnp.asarray(x_nf))
            Outputs(members[0].ids, corpus.classes, np.asarray(class_logits), np.asarray(predicted)).save(folder / f"{name}.parquet")


def member_outputs(run: Run, corpus: Corpus, fold: int, member: str) -> Outputs:
    """A trained member's outputs. Raises `EvaluationError` if it is not trained or they belong to other utterances."""
    return _checked(_outputs_file(run, fold, member), corpus, f"member {member} is not trained yet", "medusa train")


def ensemble_outputs(run: Run, corpus: Corpus, fold: int, system: str) -> Outputs:
    """The outputs of one of `ENSEMBLES`, likewise."""
    return _checked(run.fold_folder(fold) / "ensemble" / f"{system}.parquet", corpus, "the ensemble is not made yet", "medusa ensemble")


def _checked(path: Path, corpus: Corpus, absent: str, command: str) -> Outputs:
    if not path.exists():
        raise EvaluationError(absent, where=path, mend=f"run `{command}` with the same configuration first, or `medusa run` for all steps")
    outputs = Outputs.load(path, corpus.classes)
    if outputs.ids != tuple(corpus.frame["id"]):
        raise EvaluationError("these outputs are of other utterances than the run's corpus", where=path, mend="use a fresh --out")
    return outputs


def _outputs_file(run: Run, fold: int, member: str) -> Path:
    return run.member_folder(fold, member) / "outputs.parquet"


def _data_key(member: MemberConfig) -> str:
    """Members with equal keys share their examples and so their compiled shapes."""
    return digest_of([member.modalities, member.training.shapes, member.training.targets])


def _examples(prepared: Prepared, member: MemberConfig) -> Examples:
    training = member.training
    return gather(prepared.corpus, member.modalities, prepared.stores, training.shapes, training.targets == "one_hot")


def _targets(corpus: Corpus) -> meta.Targets:
    """The eight classes' share of the soft labels, normalised; zero rows where there is none."""
    soft = np.nan_to_num(corpus.soft[:, : len(corpus.classes)], nan=0.0)
    total = soft.sum(axis=1, keepdims=True)
    rated = np.isfinite(corpus.attributes).astype(np.float32)
    return meta.Targets(np.divide(soft, total, out=np.zeros_like(soft), where=total > 0), np.nan_to_num(corpus.attributes), rated, corpus.labels)
