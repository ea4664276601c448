"""Values that a person types, read as their fields are typed."""

from __future__ import annotations

import pytest

from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.review_edits import corrected

FIELDS = ("party", "days", "tags")


def is_valid(name: str, value: object) -> bool:
    types = {"party": (str, type(None)), "days": (int,), "tags": (list,)}
    return isinstance(value, types[name])


def edit(*settings: str, answer: dict[str, object] | None = None) -> dict[str, object]:
    return corrected(answer, settings, fields=FIELDS, is_valid=is_valid)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        pytest.param("days=30", 30, id="a number for a number field"),
        pytest.param("party=30", "30", id="the same text for a text field"),
        pytest.param("party=the tenant", "the tenant", id="text that is no JSON"),
        pytest.param('party="the tenant"', "the tenant", id="text in quotes is the text"),
        pytest.param("party=null", None, id="null where a field may be empty"),
        pytest.param("party=a=b", "a=b", id="only the first equals sign parts"),
        pytest.param('tags=["a", "b"]', ["a", "b"], id="an array"),
        pytest.param("days=[1]", [1], id="what fits neither way stays as read, for the schema to refuse"),
    ],
)
def test_a_value_is_json_where_its_field_takes_that_and_text_otherwise(setting: str, value: object) -> None:
    assert list(edit(setting).values()) == [value]


def test_fields_that_are_not_named_stay_as_they_were() -> None:
    before: dict[str, object] = {"party": "landlord", "days": 5}
    assert edit("days=6", "days=7", answer=before) == {"party": "landlord", "days": 7}
    assert before == {"party": "landlord", "days": 5}


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        pytest.param("days", "'days': write field=value, for example party=…", id="no equals sign"),
        pytest.param("day=3", "the schema has no field 'day'; it has party, days, tags", id="a field there is not"),
    ],
)
def test_a_setting_that_is_none_is_refused(setting: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        edit(setting)
