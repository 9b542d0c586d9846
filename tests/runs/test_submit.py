"""Attributes that no loss trained are named where they are handed in or shown."""

from dataclasses import replace

import pytest
from scored_run import scored_run

from medusa_jax.cli.submit import show_written
from medusa_jax.report.report import report
from medusa_jax.runs.run import Run
from medusa_jax.runs.submit import Written, untrained_attributes

UNTRAINED = {"training": {"attribute_loss": 0}}


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A run whose second member alone has trained attributes."""
    folder = tmp_path_factory.mktemp("half")
    prepared = scored_run(folder, **UNTRAINED, ensemble={"attributes": False})
    first, second = prepared.run.config.members[:2]
    training = second.training.model_copy(update={"attribute_loss": 0.4})
    members = (first, second.model_copy(update={"training": training}))
    return prepared, prepared.run.config.model_copy(update={"members": members})


def test_members_without_an_attribute_loss_are_named(half):
    _, config = half
    first, second = config.members
    for system in (None, "soup", "soft_vote", "weighted_vote"):
        assert untrained_attributes(config, system) == (first.id,)
    learns = config.model_copy(
        update={
            "ensemble": config.ensemble.model_copy(update={"attributes": True}),
            "training": second.training,
        }
    )
    assert untrained_attributes(learns, "meta_classifier") == (), "it has learned its own"
    assert untrained_attributes(learns, "soft_vote") == (first.id,)


@pytest.mark.slow
def test_challenge_files_and_report_warn_of_them(half, capsys):
    prepared, _ = half
    names = ", ".join(one.id for one in prepared.run.config.members)
    show_written(prepared, Written({}, {}))
    said = " ".join(capsys.readouterr().err.split())
    assert f"warning: the attributes of {names} were never trained" in said
    page = report(prepared).page.read_text(encoding="utf-8")
    assert f"The attributes of {names} were never trained" in page


def test_trained_attributes_are_no_matter(half, capsys):
    prepared, config = half
    trained = config.model_copy(update={"members": config.members[1:]})
    assert untrained_attributes(trained) == ()
    show_written(replace(prepared, run=Run(trained, prepared.run.out)), Written({}, {}))
    assert "never trained" not in capsys.readouterr().err
