"""Fixtures shared by all tests."""

import os
from pathlib import Path

# Most of the tests' time goes into compiling tiny programs: compile them fast, not well. Also inherited by the commands that tests start.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real speech and votes; skips where it is absent."""
    folder = Path(os.environ.get("MEDUSA_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}: set MEDUSA_SHARED_DATA to the folder that holds ravdess/ and crema_d_votes/")
    return folder
