"""Reading pack prompts."""

from __future__ import annotations

import json

from tokenopt_pipeline.sandbox.pack import read_extraction_schema, read_pack

from .asking import pack_text


def test_a_pack_is_read_with_its_ordinals_and_texts() -> None:
    pack = read_pack(pack_text("first", 'with "quotes",\nlines and </blocks>'))
    assert pack is not None
    assert pack.ordinal_key == "n"
    assert [(block.ordinal, block.text) for block in pack.blocks] == [
        (1, "first"),
        (2, 'with "quotes",\nlines and </blocks>'),
    ]


def test_the_ordinal_may_have_underscores() -> None:
    pack = read_pack(pack_text("first", key="__n"))
    assert pack is not None
    assert pack.ordinal_key == "__n"


def test_what_is_no_pack_is_said_to_be_none() -> None:
    good = pack_text("first", "second")
    assert read_pack("What is the capital of France?") is None
    assert read_pack(good.replace('count="2"', 'count="3"')) is None
    assert read_pack(good.removesuffix("</blocks>")) is None
    assert read_pack(good.replace('{"n": 1', '{"n": 1,,')) is None


def test_the_extraction_schema_is_found_in_the_system_part() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}}
    system = f"Extract.\n## Blocks (pack format 1)\n…\n## Schema of one result\n{json.dumps(schema)}\n"
    assert read_extraction_schema(system) == schema
    assert read_extraction_schema("Extract.") is None
