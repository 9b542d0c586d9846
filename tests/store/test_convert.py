"""Stores converted to another dtype."""

import shutil

import numpy as np
import pytest
from small_corpus import bytes_of

from medusa_jax.config.features import LogMelConfig
from medusa_jax.errors import StoreError
from medusa_jax.features.extract import extract
from medusa_jax.features.registry import build_extractor
from medusa_jax.features.store_plan import store_name
from medusa_jax.store.convert import convert
from medusa_jax.store.reader import FeatureStore


def test_a_converted_store_holds_the_same_and_says_what_of(made, tmp_path):
    for dtype in ("float16", "int8"):
        other = convert(made, dtype, tmp_path / dtype)
        assert (other.ids, other.failed, other.plan.dtype) == (made.ids, made.failed, dtype)
        assert np.array_equal(other.lengths, made.lengths)
        assert other.plan.made_from == made.digest
        assert other.digest != made.digest
        assert other.entries[0].made_with == made.entries[0].made_with
        assert (other.folder / "failures.jsonl").read_text() == (
            made.folder / "failures.jsonl"
        ).read_text()
        other.verify()
    half = FeatureStore.open(tmp_path / "float16")
    assert all(np.array_equal(half[id], made[id].astype(np.float16)) for id in made.ids)


def test_int8_made_directly_and_by_conversion_is_the_same_and_yet_another_store(corpus, tmp_path):
    full = extract(corpus, LogMelConfig(dtype="float32"), tmp_path / "float32", shard_rows=3)
    direct, converted = (
        extract(corpus, LogMelConfig(dtype="int8"), tmp_path / "int8", shard_rows=3),
        convert(full, "int8", tmp_path / "converted"),
    )
    assert all(np.array_equal(direct[id], converted[id]) for id in full.ids)
    for config in (LogMelConfig(dtype="int8"), LogMelConfig(dtype="float32")):
        taken = tmp_path / f"taken-{config.dtype}" / store_name(corpus, build_extractor(config))
        shutil.copytree(converted.folder, taken)
        with pytest.raises(StoreError, match="another corpus or other settings"):
            extract(corpus, config, taken.parent)


def test_a_conversion_goes_on_and_redoes_only_what_is_damaged(made, tmp_path):
    folder = convert(made, "int8", tmp_path / "int8").folder
    before, times = (
        bytes_of(folder),
        {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")},
    )
    (folder / "shard-00001.arrow").write_bytes(b"damaged")
    (folder / "shard-00003.json").unlink()
    seen = []
    convert(made, "int8", folder, progress=lambda *now: seen.append(now))
    assert bytes_of(folder) == before
    assert seen[0] == (6, 10)
    assert {name for name, then in times.items() if (folder / name).stat().st_mtime_ns != then} == {
        f"shard-0000{shard}.{kind}" for shard in (1, 3) for kind in ("arrow", "json")
    }


def test_a_conversion_of_something_else_or_of_damage_is_refused(corpus, made, tmp_path):
    with pytest.raises(StoreError, match="already in float32"):
        convert(made, "float32", tmp_path / "same")
    with pytest.raises(StoreError, match="another corpus or other settings"):
        convert(made, "int8", shutil.copytree(made.folder, tmp_path / "original"))
    damaged = shutil.copytree(made.folder, tmp_path / "damaged")
    whole = (damaged / "shard-00002.arrow").read_bytes()
    (damaged / "shard-00002.arrow").write_bytes(
        whole[:-500] + bytes([whole[-500] ^ 1]) + whole[-499:]
    )
    with pytest.raises(StoreError, match=r"shard-00002\.arrow is damaged"):
        convert(FeatureStore.open(damaged), "int8", tmp_path / "int8")
    assert {path.name for path in (tmp_path / "int8").glob("shard-*")} == {
        f"shard-0000{i}.{kind}" for i in (0, 1) for kind in ("arrow", "json")
    }
