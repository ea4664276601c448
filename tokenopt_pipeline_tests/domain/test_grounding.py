"""What a text states is found in it however it is spelled, and what it does not state is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.domain.grounding import (
    dates_in,
    figures_in,
    fold,
    quotes_in,
    read_text,
    stems_of,
    subject_of,
)
from tokenopt_pipeline_tests.domain.generated import ANY_TEXT, examples


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It costs $1,234.50.", 1234.5),
        ("Es kostet 1.234,50 €.", 1234.5),
        ("CHF 1'234", 1234),
        ("1 234 567 pieces".replace(" ", "\u202f", 2), 1234567),
        ("about 1,234", 1.234),
        ("about 1.234", 1234),
        ("12,5 kg", 12.5),
        ("-40 °C", -40),
        ("−40 °C", 40),
        ("between 2018-2019", 2019),
        ("a fee of 5%", 0.05),
        ("a fee of 5 percent", 5),
        ("2.5 million dollars", 2_500_000),
        ("$5k", 5_000),
        ("three thousand five hundred", 3_500),
        ("two hundred and fifty days", 250),
        ("twenty-five", 25),
        ("two dozen eggs", 24),
        ("the 14th century", 14),
        ("the third clause", 3),
        ("half an hour", 0.5),
        ("twice a year", 2),
        ("8.854 x 10^-12", 8.854e-12),
        ("1.5e3 units", 1500),
        (".5 litres", 0.5),
        ("0.123 m", 0.123),
    ],
)
def test_a_number_is_found_however_it_is_spelled(text: str, number: float) -> None:
    assert read_text(text).has_number(number)


@pytest.mark.parametrize(
    ("text", "number"), [("twelve", 13), ("1,234", 12), ("5%", 50), ("Clause A", 7), ("1.2.3", 1.2), ("", 0)]
)
def test_a_number_that_is_not_stated_is_not_found(text: str, number: float) -> None:
    assert not read_text(text).has_number(number)


def test_a_percentage_is_known_as_one() -> None:
    text = read_text("5% of 40 pieces")
    assert (text.has_percentage(5), text.has_percentage(40)) == (True, False)


@pytest.mark.parametrize(
    "stated",
    ["on 2023-03-05", "on 05.03.2023", "on 3/5/2023", "on March 5, 2023", "on the 5th of March 2023", "5 Mar. 2023"],
)
@pytest.mark.parametrize("value", ["2023-03-05", "March 5th, 2023"])
def test_a_date_is_found_however_it_is_spelled(stated: str, value: str) -> None:
    assert read_text(stated).has_date(value) is True


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("on May 5", "2023-05-05", True),
        ("on 2023-05-05", "May 5", True),
        ("on 2022-05-05", "2023-05-05", False),
        ("on 1/2/23", "2023-02-01", True),
        ("no date", "2023-05-05", False),
        ("on 2023-05-05", "tomorrow", None),
    ],
)
def test_a_date_without_a_year_fits_any_year(text: str, value: str, found: bool | None) -> None:
    assert read_text(text).has_date(value) is found


def test_what_cannot_be_a_date_is_none() -> None:
    assert dates_in("13/13/2023 and 2023-99-01") == []
    assert dates_in("May 5") == ["0000-05-05"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("The tenants pay", "tenant"),
        ("a European region", "Europe"),
        ("in Europe", "European"),
        ("the probability", "prob"),
        ("Convert the currency", "conversion"),
        ("ten dollars", "USD"),
        ("ten €", "euro"),
        ("calculate", "calculator"),
    ],
)
def test_a_word_is_found_in_its_other_forms(text: str, word: str) -> None:
    (stem,) = stems_of(word)
    assert read_text(text).has_word(stem)


@pytest.mark.parametrize(("text", "word"), [("rent", "tenant"), ("car", "carpet"), ("abcd", "abcd" * 20), ("", "x")])
def test_another_word_is_not_found(text: str, word: str) -> None:
    (stem,) = stems_of(word)
    assert not read_text(text).has_word(stem)


@pytest.mark.parametrize(
    ("value", "share"),
    [
        ("The  TENANT pays", 1.0),
        ("rent of the landlord", 0.5),
        ("$1200", 1.0),
        ("1300", 0.0),
        ("the", 1.0),
        ("of", 0.0),
        ("…", 1.0),
    ],
)
def test_the_share_of_a_value_s_words_that_stand_in_the_text(value: str, share: float) -> None:
    assert read_text("The tenant pays the rent, $1,200.").share_of(value) == share


def test_typesetting_does_not_count() -> None:
    assert fold("“Don’t” \n stop – now") == '"don\'t" stop - now'


def test_camel_and_snake_case_are_words() -> None:
    assert stems_of("unitPrice due_date2") == ["unit", "pric", "due", "dat", "2"]
    assert subject_of("get_the_current_time 5") == ["current", "tim"]


def test_quotes_are_read_without_the_marks_around_a_whole_text() -> None:
    assert quotes_in("\"Call 'John Doe' or “Jane”, `x1` and it's\"") == ["John Doe", "Jane", "x1"]
    assert quotes_in("'") == []


def test_figures_are_numbers_that_stand_alone() -> None:
    text = "12,000 at 5% on 2023-01-02 or 1/2/2023, x=4, x^2, LC123, 10d, a_7, 8.5 x 10^-3, 4.5"
    assert figures_in(text) == [12000, 5, 4, 8.5, 4.5]


@examples(150)
@given(ANY_TEXT)
def test_any_text_can_be_read_and_states_itself(text: str) -> None:
    read = read_text(text)
    assert read.share_of(text) == 1.0
    assert all(read.has_number(number) for number in figures_in(text))


@examples(200)
@given(st.integers(-(10**9), 10**9), st.sampled_from(["{}", "${:,}", "x={}", "({:,}.00)", "{} pcs"]))
def test_every_whole_number_is_found_as_written(number: int, form: str) -> None:
    assert read_text(f"It says {form.format(number)} here").has_number(number)
