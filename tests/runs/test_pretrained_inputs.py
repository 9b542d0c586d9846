"""Features of pretrained models, which JAX or PyTorch extracts, in a run."""

from functools import cache
from pathlib import Path

import pytest
from small_corpus import small_corpus
from small_run import small_config

from medusa_jax.config.run import RunConfig
from medusa_jax.errors import RunFolderError
from medusa_jax.runs.inputs import extract_shares, load_stores
from medusa_jax.runs.provenance import keep_provenance
from medusa_jax.runs.run import Run
from medusa_jax.store.share import Share

torch = pytest.importorskip("torch")
from small_models import save_model  # noqa: E402


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return cache(lambda name: str(save_model(name, tmp_path_factory.mktemp("models") / name)))


def run_of(out, **features):
    members = [{"id": "words", "modalities": list(features)}]
    chosen = {name: {"extractor": "huggingface", **one} for name, one in features.items()}
    return Run(RunConfig.model_validate(small_config(features=chosen, members=members)), out)


def test_a_run_that_began_with_pytorchs_rounded_numbers_does_not_go_on_with_jaxs(saved, tmp_path):
    corpus, out = small_corpus(tmp_path / "corpus", 3), tmp_path / "runs"
    for compute in ("float32", "bfloat16"):
        text = {"model": saved("roberta"), "compute": compute}
        stores = load_stores(run_of(out, text={**text, "backend": "torch"}), corpus)
        run = run_of(out, text=text)  # as of a version that had PyTorch alone
        keep_provenance(run, stores={"text": stores["text"].digest})
        if compute == "float32":
            assert load_stores(run, corpus)["text"].digest == stores["text"].digest
    with pytest.raises(RunFolderError, match="began with other text features") as caught:
        load_stores(run, corpus)
    assert "--set features.text.backend=torch" in caught.value.hint
    jaxs = load_stores(run_of(tmp_path / "others", text=text), corpus)["text"]
    assert jaxs.plan.extractor["backend"] == "flax"


@pytest.mark.parametrize("available", [True, False])
def test_pytorch_has_the_gpu_before_jax_takes_it(saved, tmp_path, monkeypatch, available):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(
        "medusa_jax.features.extract.extract_share", lambda *_, **__: (Path("store"), ())
    )
    models = {"jaxs": "roberta", "pytorchs": "electra", "jaxs_too": "bert"}
    run = run_of(tmp_path, **{name: {"model": saved(model)} for name, model in models.items()})
    corpus = small_corpus(tmp_path / "corpus", 1)
    order = ["pytorchs", "jaxs", "jaxs_too"] if available else list(models)
    assert list(extract_shares(run, corpus, Share(1, 1))) == order
