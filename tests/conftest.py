"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real speech and votes; skips where it is absent."""
    folder = Path(os.environ.get("MEDUSA_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}: set MEDUSA_SHARED_DATA to the folder that holds ravdess/ and crema_d_votes/")
    return folder
