"""Generated inputs that several property tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

#: Any character at all: controls, line separators, lone surrogates.
ANY_TEXT: SearchStrategy[str] = st.text(
    st.one_of(
        st.characters(exclude_categories=()),
        st.sampled_from('\0\n\r\t\v\f\x1c\x1d\x1e\x85\u2028\u2029\ud800\udfff"\\{}[],:</>n'),
    ),
    max_size=40,
)
PLAIN_TEXT: SearchStrategy[str] = st.text(max_size=20)

_SCALARS: SearchStrategy[object] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), PLAIN_TEXT
)
#: Whatever JSON can say.
JSON_VALUES: SearchStrategy[object] = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(PLAIN_TEXT, inner, max_size=4)),
    max_leaves=8,
)


def examples(count: int) -> settings:
    """Settings of a property: so many examples, the same ones every time, however busy the machine is."""
    return settings(max_examples=count, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
