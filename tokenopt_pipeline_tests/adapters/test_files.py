"""Schema and policy files: what is read, and the one line each refusal says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenopt_pipeline.adapters.files import load_policy, load_schema, parse_setting, shipped_schemas
from tokenopt_pipeline.domain.errors import InvalidInput, NotFound, PolicyInvalid, SchemaInvalid
from tokenopt_pipeline.domain.policy import resolve


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "written"


def schema_refusal(ref: Path | str, error: type[InvalidInput] = SchemaInvalid) -> str:
    with pytest.raises(error) as caught:
        load_schema(str(ref))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def policy_refusal(ref: Path | str) -> str:
    with pytest.raises(PolicyInvalid) as caught:
        load_policy(str(ref))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- schemas


def test_a_schema_file_is_its_stem_and_its_members_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "my-schema.json"
    path.write_text('{"b": 1, "a": "Größe"}', "utf-8")
    name, document = load_schema(str(path))
    assert (name, list(document.items())) == ("my-schema", [("b", 1), ("a", "Größe")])


def test_a_byte_order_mark_is_no_part_of_a_file(file: Path) -> None:
    file.write_text('\ufeff{"a": 1}', "utf-8")
    assert load_schema(str(file))[1] == {"a": 1}
    assert load_policy(str(file)).document == {"a": 1}


@pytest.mark.parametrize("name", shipped_schemas())
def test_a_shipped_schema_is_found_by_its_name(name: str) -> None:
    assert load_schema(name) == (name, json.loads(shipped_schemas()[name]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON: Expecting value"),
        (b"properties: {}", "is not JSON: Expecting value"),
        (b'{"a": 1,}', "is not JSON: "),
        (b'{"a": {"b": 1, "b": 2}}', "is not JSON: member 'b' stands twice in one object"),
        (b'{"a": NaN}', "is not JSON: JSON has no NaN"),
        (b'{"a": -Infinity}', "is not JSON: JSON has no -Infinity"),
        (b"[" * 100_000, "is not JSON: maximum recursion depth"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "is not JSON: Exceeds the limit"),
        (b"[]", "a JSON object is needed, found list"),
        (b"null", "a JSON object is needed, found NoneType"),
        (b'{"a": "\xe4"}', "is not UTF-8: byte 7 cannot be read"),
        (b'{"a": "' + b"x" * 1_000_000 + b'"}', "1,000,009 bytes, at most 1,000,000 are read"),
    ],
    ids=range(12),
)
def test_what_is_no_schema_file_is_refused(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    message = schema_refusal(file)
    assert str(file) in message
    assert said in message


def test_a_schema_nobody_knows_is_refused_with_the_shipped_ones() -> None:
    assert schema_refusal("nowhere.json", NotFound) == (
        "schema 'nowhere.json' is neither a file nor one of the shipped schemas: "
        "contract-clauses, facts-and-entities, prose-style"
    )


def test_a_directory_is_no_schema(tmp_path: Path) -> None:
    assert schema_refusal(tmp_path, NotFound) == f"schema {str(tmp_path)!r} is a directory; name a file in it"


@pytest.mark.parametrize("name", ["x" * 5_000, "a\0b", ""], ids=["endless", "NUL", "empty"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    schema_refusal(name, NotFound)
    policy_refusal(name)


# --- policies


def test_a_policy_file_is_its_sections(file: Path) -> None:
    file.write_text("packing:\n  pack_size: 25\ncalls: {concurrency: 2}\n")
    written = load_policy(str(file))
    assert written.document == {"packing": {"pack_size": 25}, "calls": {"concurrency": 2}}
    assert written.lines == {"packing": 1, "packing.pack_size": 2, "calls": 3, "calls.concurrency": 3}


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n"])
def test_an_empty_policy_changes_nothing(file: Path, text: str) -> None:
    file.write_text(text)
    assert load_policy(str(file)).document == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [1", "is not YAML: while parsing a flow sequence"),
        (b"a: b: c", "is not YAML: mapping values are not allowed here"),
        (b"\ta: 1", "is not YAML: while scanning for the next token"),
        (b"a: 1\n---\nb: 2", "is not YAML: expected a single document"),
        (b"a: !!python/object/apply:os.getcwd []", "is not YAML: could not determine a constructor"),
        (b"a: 2026-02-31", "is not YAML: day is out of range for month"),
        (b"packing: {pack_size: 1}\npacking: {}", "is not YAML: 'packing' stands twice"),
        (b"a: {b: 1, b: 2}", "is not YAML: 'b' stands twice"),
        (b"a: *nobody", "is not YAML: found undefined alias"),
        (b"[" * 5_000, "is not YAML: "),
        (b"a: \x07", "is not YAML: "),
        (b"- a", "sections with keys are needed, found list"),
        (b"text", "sections with keys are needed, found str"),
        (b"a: \xff", "is not UTF-8: byte 3 cannot be read"),
        (b"#" * 1_000_001, "1,000,001 bytes, at most 1,000,000 are read"),
    ],
    ids=range(15),
)
def test_what_is_no_policy_file_is_refused(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    message = policy_refusal(file)
    assert str(file) in message
    assert said in message


def test_every_key_and_entry_knows_its_line(file: Path) -> None:
    file.write_text(
        "routing:\n  rules:\n    - id: a\n      tier: small\n\n    # two\n    - {id: b,\n       tier: mid}\n"
    )
    lines = load_policy(str(file)).lines
    wanted = {
        "routing": 1,
        "routing.rules": 2,
        "routing.rules[0]": 3,
        "routing.rules[0].tier": 4,
        "routing.rules[1]": 7,
    }
    assert {path: lines[path] for path in wanted} == wanted
    assert lines["routing.rules[1].tier"] == 8


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("packing:\n  pack_size: 1\n  pack_size: 2\n", 3),
        ("packing:\n  pack_size: [1\n", 3),
        ("run:\n  shard_blocks: 9\n  budget_usd: 2026-02-31\n", 3),
        ("run:\n\tshard_blocks: 9\n", 2),
        ("- a", 1),
    ],
)
def test_what_is_no_policy_is_refused_at_its_line(file: Path, text: str, line: int) -> None:
    file.write_text(text)
    assert policy_refusal(file).startswith(f"policy {file}:{line}")


def test_what_an_alias_repeats_is_numbered_where_it_is_first_written(file: Path) -> None:
    file.write_text("a: &x\n  b: 1\nc: *x\n")
    assert load_policy(str(file)).lines == {"a": 1, "a.b": 2, "c": 3}


def test_aliases_of_aliases_are_read_once(file: Path) -> None:
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 9)]
    file.write_text("\n".join(["l0: &l0 [x]", *levels]))
    assert len(load_policy(str(file)).lines) < 200


def test_a_key_may_override_what_an_anchor_merges(file: Path) -> None:
    file.write_text("base: &base {a: 1, b: 2}\nmine: {<<: *base, b: 3}\n")
    assert load_policy(str(file)).document["mine"] == {"a": 1, "b": 3}


def test_a_policy_that_is_missing_or_a_directory_is_refused(tmp_path: Path) -> None:
    assert policy_refusal(tmp_path / "nowhere") == f"policy {tmp_path / 'nowhere'}: no such file"
    assert policy_refusal(tmp_path) == f"policy {tmp_path}: a directory, not a file"


@pytest.mark.parametrize("content", [b"1: 2", b"[a]: 2", b"? {a: b}\n: 1", b"a: &x [*x]", b"a: &x {b: *x}"])
def test_odd_but_readable_yaml_is_refused_by_the_policy_at_the_latest(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(PolicyInvalid):
        resolve([("file", load_policy(str(file)).document)])


# --- settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("packing.pack_size=25", {"packing": {"pack_size": 25}}),
        ("cache.ttl=1h", {"cache": {"ttl": "1h"}}),
        ("a.b=", {"a": {"b": None}}),
        ("a.b=c=d", {"a": {"b": "c=d"}}),
        ("a.b=[x, y]", {"a": {"b": ["x", "y"]}}),
        ("a.b.c=1", {"a": {"b.c": 1}}),
    ],
)
def test_a_setting_is_a_section_a_key_and_a_yaml_value(text: str, expected: dict[str, Any]) -> None:
    assert parse_setting(text) == expected


@pytest.mark.parametrize("text", ["", "a", "a=1", "a.b", ".b=1", "a.=1", "=1"])
def test_a_setting_of_another_form_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PolicyInvalid, match=r"write section\.key=value, for example packing\.pack_size=25"):
        parse_setting(text)


@pytest.mark.parametrize("value", ["[1", "2026-02-31", "{a: 1, a: 2}"])
def test_a_setting_whose_value_is_no_yaml_is_refused(value: str) -> None:
    with pytest.raises(PolicyInvalid, match=r"--set a\.b=.*: the value is not YAML") as caught:
        parse_setting(f"a.b={value}")
    assert "\n" not in str(caught.value)
