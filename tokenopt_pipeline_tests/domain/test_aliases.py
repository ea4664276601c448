"""Aliases are short, remind of their names, and are never mistaken for one another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.aliases import aliases_of
from tokenopt_pipeline_tests.domain.generated import ANY_TEXT, examples

_NAMES = st.lists(
    st.one_of(ANY_TEXT, st.text("abAB_-1", max_size=8), st.sampled_from(["party", "parties", "liability_cap", "n"])),
    max_size=12,
    unique_by=lambda name: name.lower(),
)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["liability_cap"], ["lc"], id="the initials of words"),
        pytest.param(["liabilityCap", "HTTPStatus"], ["lc", "hs"], id="humps are words"),
        pytest.param(["party"], ["p"], id="the beginning of one word"),
        pytest.param(["party", "parties"], ["p", "pa"], id="a longer beginning where the short one is taken"),
        pytest.param(["day", "due"], ["day", "due"], id="short names stay"),
        pytest.param(["a", "access"], ["a", "ac"], id="no alias is another name"),
        pytest.param(
            ["aaaa", "aaab", "aaac", "aaad"], ["a", "aa", "aaa", "a2"], id="numbers when beginnings are used up"
        ),
        pytest.param(["____"], ["____"], id="no word, no alias"),
    ],
)
def test_an_alias_is_the_shortest_hint_that_is_free(names: list[str], expected: list[str]) -> None:
    assert list(aliases_of(names).values()) == expected


def test_an_alias_that_somebody_else_uses_is_not_taken() -> None:
    assert aliases_of(["name"], taken=("n",)) == {"name": "na"}


@examples(200)
@given(_NAMES)
def test_an_alias_or_a_name_says_which_name_is_meant_whatever_its_case(names: list[str]) -> None:
    aliases = aliases_of(names)
    assert list(aliases) == names
    assert len({alias.lower() for alias in aliases.values()}) == len(names)
    for name, alias in aliases.items():
        assert alias == name or (len(alias) < len(name) and alias.lower() not in {other.lower() for other in names})


def test_many_alike_names_run_out_of_aliases_and_keep_their_own() -> None:
    names = [f"a_{i:03d}{'b' * 6}" for i in range(150)]
    aliases = aliases_of(names)
    assert len(set(aliases.values())) == len(names)
