"""Reader of Markdown (CommonMark with tables, footnotes, definition lists, task lists and front matter).

Text is the source's own: `text == decoded[start:end]`, unless the locator says `normalized` because a container's
line prefixes (`> `, a list's indent) had to be taken out of the middle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.footnote import footnote_plugin
from mdit_py_plugins.front_matter import front_matter_plugin

from tokenopt_pipeline.adapters.readers.decoding import Line, decode_utf8, split_lines, with_plain_line_ends
from tokenopt_pipeline.domain.documents import BlockType, ReadBlock, ReadDocument, SourceType
from tokenopt_pipeline.domain.errors import DocumentUnreadable

MARKDOWN_READER_VERSION = 1

#: Containers inside containers. The parser drops what is deeper without a word, so deeper is refused.
MAX_NESTING = 100

# The plugin takes any `---` on line 1 with a later `---` for front matter, and so would swallow a document that
# opens with a rule. Only lines that begin like YAML keys are let through to it.
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?:[ \t]*\n|#.*\n)*[\"']?[\w.-][\w .-]*[\"']?[ \t]*:(?:[ \t]|\n)")
_TITLE_KEY = re.compile(r"^title[ \t]*:[ \t]*(['\"]?)(.+?)\1[ \t]*$", re.MULTILINE)
_TASK = re.compile(r"\[[ xX]\][ \t]+\S")
_RULE = re.compile(r"([-*_])(?:[ \t]*\1){2,}[ \t]*$")
#: In the markup of one picture: its own, its link's, and some in its alternative text.
_MAX_BRACKETS = 20


def read_markdown(name: str, content: bytes) -> ReadDocument:
    source = decode_utf8(name, content)
    plain = with_plain_line_ends(source)
    parser = _parser(_FRONT_MATTER.match(plain) is not None)
    env: dict[str, object] = {}
    tokens = parser.parse(plain, env)
    if any(token.nesting == 1 and token.level >= MAX_NESTING - 1 for token in tokens):
        raise DocumentUnreadable(name, f"lists or quotes nested deeper than {MAX_NESTING} levels")
    blocks = tuple(_Cutter(source, parser, env).cut(tokens))
    return ReadDocument(
        source_type=SourceType.MARKDOWN,
        reader_version=MARKDOWN_READER_VERSION,
        blocks=blocks,
        title=_title_of(blocks),
    )


@cache
def _parser(front_matter: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING}).enable(["table", "strikethrough"])
    parser.use(footnote_plugin, inline=False, move_to_end=False).use(deflist_plugin)
    if front_matter:
        parser.use(front_matter_plugin)
    # Inline markup stays in the text as written, so it need not be parsed: half the time saved. Task markers are
    # matched on the text for the same reason; the plugin for them works on parsed inlines.
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def _title_of(blocks: Sequence[ReadBlock]) -> str | None:
    """The front matter's title, else the first heading of level 1."""
    if blocks and blocks[0].type is BlockType.KEY_VALUE_REGION and (key := _TITLE_KEY.search(blocks[0].text)):
        return key[2]
    tops = (block.text for block in blocks if block.type is BlockType.HEADING and block.locator.get("level") == 1)
    return next((" ".join(text.split()) for text in tops if text.strip()), None)


class _Item:
    """A list item being read: its leading paragraphs are one block, whatever follows them is blocks of its own."""

    def __init__(self, line: int, *, closed: bool) -> None:
        self.line = line
        self.paragraphs: list[Token] = []
        #: True when its block is out, so that further paragraphs are blocks of their own.
        self.closed = closed


class _Cutter:
    def __init__(self, source: str, parser: MarkdownIt, env: dict[str, object]) -> None:
        self._source = source
        self._lines: list[Line] = split_lines(source)
        self._parser = parser
        self._env = env

    def cut(self, tokens: Sequence[Token]) -> Iterator[ReadBlock]:
        """Blocks in source order."""
        items: list[_Item] = []  # the open containers, quotes too
        at = 0
        while at < len(tokens):
            token = tokens[at]
            at += 1
            item = items[-1] if items and not items[-1].closed else None
            if token.type == "paragraph_open" and item and self._picture_in(tokens[at]) is None:
                item.paragraphs.append(tokens[at])
                at += 2
                continue
            if token.type in ("list_item_open", "blockquote_open"):
                if item:
                    yield from self._close(item)
                # A quote keeps its paragraphs to itself, also inside an item.
                items.append(_Item(_lines_of(token)[0], closed=token.type == "blockquote_open"))
                continue
            if token.type in ("list_item_close", "blockquote_close"):
                items.pop()
                if item:
                    yield from self._close(item, at_its_end=True)
                continue
            if token.nesting == -1 or token.type in ("bullet_list_open", "ordered_list_open", "inline"):
                continue
            if item:
                yield from self._close(item)
            if token.nesting == 1:
                end = _end_of(tokens, at - 1)
                yield from self._composite(token, tokens[at:end], nested=bool(items))
                at = end + 1
            else:
                yield self._leaf(token)

    def _close(self, item: _Item, *, at_its_end: bool = False) -> Iterator[ReadBlock]:
        item.closed = True
        if item.paragraphs:
            task = _TASK.match(item.paragraphs[0].content) is not None
            yield self._joined(BlockType.CHECKBOX if task else BlockType.LIST_ITEM, item.paragraphs)
        elif at_its_end:
            end = self._lines[item.line].end
            yield ReadBlock(type=BlockType.LIST_ITEM, text="", locator={"start": end, "end": end})

    def _leaf(self, token: Token) -> ReadBlock:
        first, end = _lines_of(token)
        match token.type:
            case "fence":
                return self._block(BlockType.CODE_BLOCK, _without_last_line_end(token.content), first + 1)
            case "code_block":
                return self._block(BlockType.CODE_BLOCK, token.content.rstrip("\n"), first)
            case "html_block":
                return self._block(BlockType.HTML_BLOCK, token.content.rstrip("\n"), first)
            case "hr":
                rule = _RULE.search(self._lines[first].text)
                return self._block(BlockType.DIVIDER, rule[0].rstrip() if rule else token.markup, first)
            case "front_matter":
                return self._slice(BlockType.KEY_VALUE_REGION, first + 1, end - 1)
            case _:
                raise ValueError(f"no reading is defined for {token.type}")

    def _composite(self, token: Token, inner: Sequence[Token], *, nested: bool) -> Iterator[ReadBlock]:
        """A block of several tokens; `inner` excludes its own opening and closing token."""
        match token.type:
            case "heading_open":
                yield self._heading(token, inner[0])
            case "paragraph_open":
                yield self._figure(inner[0]) or self._block(BlockType.PARAGRAPH, inner[0].content, _lines_of(token)[0])
            case "table_open" if nested:
                first = _lines_of(token)[0]
                yield ReadBlock(type=BlockType.TABLE, text=_table_text(inner), locator=self._normalized(first, inner))
            case "table_open":
                yield self._slice(BlockType.TABLE, *_lines_of(token))
            case "dl_open":
                yield from self._definitions(token, inner, nested=nested)
            case "footnote_reference_open":
                label = {"label": str(token.meta.get("label", ""))}
                end = self._lines[_lines_of(token)[0]].end
                empty = ReadBlock(type=BlockType.FOOTNOTE, text="", locator={"start": end, "end": end})
                leaves = _leaves(inner)
                note = self._joined(BlockType.FOOTNOTE, leaves) if leaves else empty
                yield ReadBlock(type=note.type, text=note.text, locator={**note.locator, **label})
            case _:
                raise ValueError(f"no reading is defined for {token.type}")

    def _heading(self, token: Token, inline: Token) -> ReadBlock:
        first = _lines_of(token)[0]
        level = int(token.tag[1])
        if token.markup[0] != "#":
            block = self._block(BlockType.HEADING, inline.content, first)
            return ReadBlock(type=block.type, text=block.text, locator={**block.locator, "level": level})
        line = self._lines[first]
        marker_end = line.start + line.text.find(token.markup) + len(token.markup)
        start = self._source.find(inline.content, marker_end, line.end)
        end = start + len(inline.content)
        return ReadBlock(
            type=BlockType.HEADING,
            text=self._source[start:end],
            locator={"start": start, "end": end, "level": level},
        )

    def _picture_in(self, inline: Token) -> Token | None:
        """The picture of a paragraph that consists of one picture, which may be a link."""
        content = inline.content
        # Inline parsing of thousands of open brackets takes seconds, and no picture has them.
        if not content.startswith(("![", "[![")) or content[-1] not in ")]" or content.count("[") > _MAX_BRACKETS:
            return None
        parsed: list[Token] = []
        self._parser.inline.parse(inline.content, self._parser, self._env, parsed)
        around = [part for part in parsed if part.type not in ("image", "link_open", "link_close")]
        pictures = [part for part in parsed if part.type == "image"]
        return pictures[0] if len(pictures) == 1 and not around else None

    def _figure(self, inline: Token) -> ReadBlock | None:
        picture = self._picture_in(inline)
        if picture is None:
            return None
        alt = picture.content
        whole = self._block(BlockType.FIGURE, inline.content, _lines_of(inline)[0])
        start = self._source.find(f"![{alt}]", _offset(whole, "start"), _offset(whole, "end"))
        if start < 0:
            return ReadBlock(type=BlockType.FIGURE, text=alt, locator={**whole.locator, "normalized": True})
        start += len("![")
        return ReadBlock(type=BlockType.FIGURE, text=alt, locator={"start": start, "end": start + len(alt)})

    def _definitions(self, token: Token, inner: Sequence[Token], *, nested: bool) -> Iterator[ReadBlock]:
        """One block per term with its definitions."""
        terms = [at for at, part in enumerate(inner) if part.type == "dt_open" and part.level == token.level + 1]
        for at, following in zip(terms, [*terms[1:], len(inner)], strict=True):
            first = _lines_of(inner[at])[0]
            if nested:
                parts = [part.content.rstrip("\n") for part in _leaves(inner[at:following])]
                text = "\n: ".join(parts)
                locator = self._normalized(first, inner[at:following])
                yield ReadBlock(type=BlockType.DEFINITION, text=text, locator=locator)
            else:
                end = _lines_of(inner[following])[0] if following < len(inner) else _lines_of(token)[1]
                yield self._slice(BlockType.DEFINITION, first, end)

    def _joined(self, kind: BlockType, parts: Sequence[Token]) -> ReadBlock:
        """Several pieces as one block, a blank line between them."""
        pieces = [
            self._block(kind, part.content.rstrip("\n"), _lines_of(part)[0] + (part.type == "fence")) for part in parts
        ]
        if len(pieces) == 1:
            return pieces[0]
        start, end = _offset(pieces[0], "start"), _offset(pieces[-1], "end")
        text = "\n\n".join(piece.text for piece in pieces)
        return self._checked(kind, text, start, end)

    def _block(self, kind: BlockType, content: str, first: int) -> ReadBlock:
        """`content` as the parser gives it, found again in the source, from line `first` on."""
        if first >= len(self._lines):
            return ReadBlock(type=kind, text=content, locator={"start": len(self._source), "end": len(self._source)})
        lines = content.split("\n")
        opening, closing = self._lines[first], self._lines[min(first + len(lines), len(self._lines)) - 1]
        # A container's prefix stands before the text and the parser trims after it, so the text is the line's tail.
        start = opening.start + len(opening.text.rstrip()) - len(lines[0].rstrip())
        if not content:
            start = opening.start
            return ReadBlock(type=kind, text="", locator={"start": start, "end": start})
        end = closing.start + len(closing.text.rstrip()) + len(lines[-1]) - len(lines[-1].rstrip())
        return self._checked(kind, content, max(start, opening.start), max(start, end))

    def _slice(self, kind: BlockType, first: int, end: int) -> ReadBlock:
        """The lines from `first` to `end` (exclusive) without the white space around them."""
        start, stop = self._lines[first].start, self._lines[end - 1].end
        text = self._source[start:stop]
        start += len(text) - len(text.lstrip())
        text = text.strip()
        return ReadBlock(type=kind, text=text, locator={"start": start, "end": start + len(text)})

    def _checked(self, kind: BlockType, content: str, start: int, end: int) -> ReadBlock:
        found = self._source[start:end]
        if found == content or with_plain_line_ends(found) == with_plain_line_ends(content):
            return ReadBlock(type=kind, text=found, locator={"start": start, "end": end})
        return ReadBlock(type=kind, text=content, locator={"start": start, "end": end, "normalized": True})

    def _normalized(self, first: int, inner: Sequence[Token]) -> dict[str, object]:
        last = max([first, *(_lines_of(part)[1] - 1 for part in inner if part.map)])
        return {"start": self._lines[first].start, "end": self._lines[last].end, "normalized": True}


def _lines_of(token: Token) -> tuple[int, int]:
    """First line and end line (exclusive); some plugins give a term's line an end equal to its start."""
    if token.map is None:
        raise ValueError(f"a {token.type} token without lines")
    return token.map[0], max(token.map[1], token.map[0] + 1)


def _offset(block: ReadBlock, key: str) -> int:
    offset = block.locator[key]
    assert isinstance(offset, int)
    return offset


def _end_of(tokens: Sequence[Token], at: int) -> int:
    """Index of the token that closes the one at `at`."""
    level = tokens[at].level
    return next(end for end in range(at + 1, len(tokens)) if tokens[end].nesting == -1 and tokens[end].level == level)


def _leaves(tokens: Sequence[Token]) -> list[Token]:
    return [token for token in tokens if token.nesting == 0 and token.map and token.type != "hr"]


def _table_text(inner: Sequence[Token]) -> str:
    rows: list[list[str]] = []
    for token in inner:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(token.content)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def _without_last_line_end(content: str) -> str:
    return content[:-1] if content.endswith("\n") else content
