"""`import medusa_jax` is cheap, and offers its public names when they are used."""

import subprocess
import sys

import pytest

import medusa_jax

HEAVY = ("jax", "numpy", "pandas", "pydantic", "yaml", "rich", "torch")


@pytest.mark.parametrize("name", medusa_jax.__all__)
def test_every_public_name_resolves(name):
    value = getattr(medusa_jax, name)
    assert value.__name__ == name if name != "__version__" else value.count(".") == 2
    assert name in dir(medusa_jax)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        _ = medusa_jax.fly


def test_the_import_loads_nothing_heavy():
    program = f"import sys, medusa_jax; print(sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
