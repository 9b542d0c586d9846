"""The extractor of pretrained text encoders without PyTorch."""

import subprocess
import sys

import numpy as np
import pytest

from medusa_jax.errors import FeatureError

pytest.importorskip("torch")
import transformers
from small_models import SENTENCES, extractor_of, save_model

LONG = "no, no, I told you not to do that again. " * 5
TEXTS = [*SENTENCES, LONG, "", "x" * 70, "</s>", "a"]  # 30 tokens of content are a window


@pytest.fixture(scope="module", params=["roberta-mlm", "modernbert", "bert"])
def folder(request, tmp_path_factory):
    return save_model(request.param, tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_model("bert", tmp_path_factory.mktemp("models") / "bert")


def test_frames_are_pytorchs(folder):
    """Long texts in windows and texts without tokens included, within float16's rounding."""
    for layers in ("sum_last_4", "all"):
        found = extractor_of(folder, layers, backend="flax")(TEXTS)
        for one, other in zip(found, extractor_of(folder, layers)(TEXTS), strict=True):
            assert one.dtype == np.float32
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


def test_frames_do_not_depend_on_the_batch(folder):
    extractor = extractor_of(folder, backend="flax", batch_seconds=1.5)
    for frames, text in zip(extractor(TEXTS), TEXTS, strict=True):
        np.testing.assert_array_equal(frames, extractor([text])[0])


def test_a_text_without_tokens_is_one_zero_frame(folder):
    extractor = extractor_of(folder, "all", backend="flax")
    (frames,) = extractor([""])
    assert frames.shape == (1, extractor.width)
    assert not frames.any()


def test_equal_numbers_are_one_store(bert):
    torch, flax = extractor_of(bert), extractor_of(bert, backend="flax")
    assert torch.identity() == flax.identity()
    rounded = [extractor_of(bert, backend=name, compute="bfloat16") for name in ("torch", "flax")]
    assert rounded[0].identity() != rounded[1].identity()


def test_a_token_that_the_model_lacks_is_an_error_in_its_place(bert, tmp_path):
    for path in bert.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.add_tokens([f"§{number}" for number in range(300)])
    tokenizer.save_pretrained(tmp_path)
    first, second = extractor_of(tmp_path, backend="flax")(["yes", "yes §299"])
    assert isinstance(first, np.ndarray)
    assert isinstance(second, FeatureError)
    assert "300" in second.what


def test_a_folder_without_a_tokenizer_is_refused(bert, tmp_path):
    for path in bert.iterdir():
        if "token" not in path.name:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(FeatureError, match="tokenizer"):
        extractor_of(tmp_path, backend="flax").prepare()


def test_pytorch_is_not_needed(bert):
    script = f"""
import sys
sys.modules["torch"] = None
from medusa_jax.config.features import HuggingFaceConfig
from medusa_jax.features.registry import build_extractor
extractor = build_extractor(HuggingFaceConfig(model={str(bert)!r}, backend="flax"))
print(extractor([{SENTENCES[0]!r}])[0].shape[1])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "32"
