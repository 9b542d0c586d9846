"""benchmarks/encoders.py: operations that are counted right."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def encoders():
    """benchmarks/encoders.py as a module."""
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("encoders", BENCHMARKS / "encoders.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["encoders"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["encoders"]


def test_operations_of_an_encoder_are_those_of_its_products(encoders):
    """Twice the weights of the 24 layers a frame, and attention; RoBERTa has little else."""
    tokens = round(10 * encoders.TOKENS_A_SECOND) + 2
    layer = 4 * 1024**2 + 2 * 1024 * 4096
    products = 24 * (2 * tokens * layer + 4 * tokens**2 * 1024)
    pooler = 2 * 1024**2
    assert encoders.flops("roberta-large", 10.0) == pytest.approx(products + pooler, rel=1e-3)
