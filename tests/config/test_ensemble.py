"""The kind of ensemble: its defaults, what it makes, and what does not go together."""

from typing import Any, get_args

import pytest
import yaml
from pydantic import ValidationError
from small_config import SMALL

from medusa_jax.config.ensemble import EnsembleConfig, SubmissionConfig
from medusa_jax.config.run import RunConfig
from medusa_jax.config.section import DIGEST
from medusa_jax.ensemble.variants import ENSEMBLES, SYSTEMS


def config(**sections: Any) -> RunConfig:
    return RunConfig.model_validate(yaml.safe_load(SMALL) | sections)


def test_the_default_leaves_a_runs_digest_as_it_was() -> None:
    plain = config()
    assert config(ensemble={"kind": "meta_classifier", "targets": "one_hot"}) == plain
    digested = plain.model_dump(context=DIGEST)["ensemble"]
    assert {"fit_on", "seeds"} <= digested.keys()
    assert not digested.keys() & {"kind", "targets"}
    assert config(ensemble={"kind": "weighted"}).digest() != plain.digest()


def test_the_systems_of_each_kind() -> None:
    assert EnsembleConfig().systems == ENSEMBLES
    weighted = EnsembleConfig(kind="weighted")
    assert weighted.systems == ("majority_vote", "soft_vote", "weighted_vote")
    offered = SubmissionConfig.model_fields["system"].annotation
    assert set(get_args(offered)) == {*ENSEMBLES, *weighted.systems}
    assert set(SYSTEMS) > {*ENSEMBLES, *weighted.systems}


def test_weights_are_fitted_on_the_held_out_part_and_submitted_by_default() -> None:
    found = config(ensemble={"kind": "weighted"}, submission={})
    assert found.ensemble.fit_on == "held_out"
    assert found.submission == SubmissionConfig(system="weighted_vote")
    assert found.system == "weighted_vote"
    assert config(ensemble={"kind": "weighted"}).system == "weighted_vote"
    assert (config(submission={}).system, config().system) == ("soup", "soup")
    other = config(
        ensemble={"kind": "weighted", "fit_on": "out_of_fold"}, submission={"system": "soft_vote"}
    )
    assert (other.ensemble.fit_on, other.system) == ("out_of_fold", "soft_vote")


def test_the_resolved_configuration_is_read_again() -> None:
    found = config(ensemble={"kind": "weighted"}, submission={})
    again = RunConfig.model_validate(found.model_dump(mode="json"))
    assert again == found
    assert again.digest() == found.digest()


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        (dict(ensemble={"kind": "weighted", "fit_on": "train"}), "overfits most"),
        (
            dict(ensemble={"kind": "weighted"}, submission={"system": "soup"}),
            "'soup' is not made by ensemble.kind 'weighted': choose one of majority_vote",
        ),
        (dict(submission={"system": "weighted_vote"}), "not made by ensemble.kind 'meta_class"),
        (dict(ensemble={"kind": "weights"}), "'meta_classifier' or 'weighted'"),
        (dict(ensemble={"kind": "weighted"}, submission="soup"), "submission"),
    ],
)
def test_what_does_not_go_together_is_refused(sections: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        config(**sections)
