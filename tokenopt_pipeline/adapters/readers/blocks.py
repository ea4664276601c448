"""Reader of blocks that somebody else has cut: JSON Lines, one `{"text", "type"?, "locator"?}` per line."""

from __future__ import annotations

import json

from tokenopt_pipeline.adapters.readers.decoding import decode_utf8
from tokenopt_pipeline.domain.documents import BlockType, ReadBlock, ReadDocument, SourceType
from tokenopt_pipeline.domain.errors import DocumentUnreadable

BLOCKS_READER_VERSION = 1

_KEYS = ("text", "type", "locator")


class _Refused(Exception):
    """What is wrong with one line; the caller knows which."""


def read_blocks(name: str, content: bytes) -> ReadDocument:
    """Blocks in file order. Lines of white space alone are passed over; a block's text may be empty."""
    blocks: list[ReadBlock] = []
    # Split at LF only: JSON strings may hold U+2028 and the other marks that str.splitlines would cut at.
    for number, line in enumerate(decode_utf8(name, content).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            blocks.append(_block_of(line, number))
        except _Refused as refusal:
            raise DocumentUnreadable(name, f"line {number}: {refusal}") from None
    return ReadDocument(source_type=SourceType.BLOCKS, reader_version=BLOCKS_READER_VERSION, blocks=tuple(blocks))


def _block_of(line: str, number: int) -> ReadBlock:
    try:
        record = json.loads(line, object_pairs_hook=_without_repeated_keys, parse_constant=_refuse_constant)
    except RecursionError:
        raise _Refused("nested too deeply") from None
    except ValueError as error:
        raise _Refused(f"not valid JSON ({error})") from None
    if not isinstance(record, dict):
        raise _Refused(f"expected a JSON object, found {type(record).__name__}")
    unknown = sorted(record.keys() - set(_KEYS))
    if unknown:
        raise _Refused(f"unknown key {unknown[0]!r}; known are {', '.join(_KEYS)}")
    if "text" not in record:
        raise _Refused("the key 'text' is missing")
    text = record["text"]
    if not isinstance(text, str):
        raise _Refused(f"'text' must be a string, found {type(text).__name__}")
    locator = record.get("locator", {"line": number})
    if not isinstance(locator, dict):
        raise _Refused(f"'locator' must be an object, found {type(locator).__name__}")
    _refuse_unstorable(text, "'text'")
    # Escaped backslashes go first: they are text, and so is what follows them.
    _refuse_unstorable(
        json.dumps(locator, ensure_ascii=False).replace("\\\\", "").replace("\\u0000", "\0"), "'locator'"
    )
    return ReadBlock(type=_type_of(record.get("type", BlockType.PARAGRAPH)), text=text, locator=locator)


def _type_of(value: object) -> BlockType:
    try:
        return BlockType(value)  # type: ignore[arg-type]  # any JSON value may stand here; the enum refuses it
    except ValueError:
        raise _Refused(f"unknown type {value!r}; known are {', '.join(BlockType)}") from None


def _refuse_unstorable(text: str, where: str) -> None:
    # JSON escapes can spell what no database text can hold.
    if "\0" in text:
        raise _Refused(f"{where} contains a NUL character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _Refused(f"{where} contains half of a surrogate pair") from None


def _without_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [key for key, _ in pairs]
        repeated = next(key for key in names if names.count(key) > 1)
        raise _Refused(f"key {repeated!r} occurs twice")
    return record


def _refuse_constant(constant: str) -> object:
    raise _Refused(f"{constant} is not valid JSON")
