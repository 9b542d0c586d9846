"""Fixtures shared by all tests."""

import os
import sys
from pathlib import Path

# Most of the tests' time goes into compiling tiny programs: compile them fast, not well. Commands
# started by tests inherit the flags.
# Four devices, of which all but the tests of several use the first.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_force_host_platform_device_count=4",
)

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run, so that a suite that passed passes again.
# `pytest --hypothesis-profile=random` searches anew.
# How long an example takes depends on what else the machine does, and is no property.
settings.register_profile("random", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("random"), derandomize=True, database=None)
settings.load_profile("same")
MAPS = 20_000
"""Maps of memory in a process from which on compiled programs are dropped after a file of tests."""


@pytest.fixture(scope="session", autouse=True)
def _exact_products():
    """On a GPU, products of float32 operands are float32: XLA's default there is TF32."""
    import jax

    if jax.default_backend() == "gpu":
        jax.config.update("jax_default_matmul_precision", "float32")


@pytest.fixture(scope="module", autouse=True)
def _few_programs():
    """XLA for CPUs maps memory some ten times a program, and Linux allows a process 65,530 maps:
    beyond them it dies of a segmentation fault.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MAPS:
        import jax

        jax.clear_caches()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real speech and votes; skips where it is absent."""
    folder = Path(
        os.environ.get("MEDUSA_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")
    )
    if not folder.is_dir():
        pytest.skip(
            f"real data not found at {folder}: set MEDUSA_SHARED_DATA to the folder that holds "
            "ravdess/ and crema_d_votes/"
        )
    return folder


@pytest.fixture
def medusa(monkeypatch, capsys):
    """Call the command in this process: exit code, stdout, stderr."""

    import jax

    from medusa_jax.cli.app import main

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["medusa", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    yield call
    jax.config.update("jax_compilation_cache_dir", None)
