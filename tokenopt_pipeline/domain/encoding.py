"""Encoding: the shortest way to say an answer that means exactly the same, and the way back.

The compact form gives fields short aliases, leaves out what a required field says most often nothing with (null, or its
default), and codes long choices. All of it is derived from the schema and nothing else, so the same schema has the same
form; what an alias stands for is told in the schema that the model sees. Parts of a schema that say more than this module
understands are asked as they stand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from tokenopt_pipeline.domain.codings import Coding, Same, coded_schema
from tokenopt_pipeline.domain.fingerprints import ordered_json
from tokenopt_pipeline.domain.prompts import output_schema
from tokenopt_pipeline.domain.schemas import ExtractionSchema

PLAIN, COMPACT = "plain", "compact"
OUTPUT_FORMS = (COMPACT, PLAIN)
#: Changes whenever the same schema would be said otherwise; part of what makes two compact answers comparable.
FORM_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """How the answers to a schema are said. `decode(encode(values)) == values` for all values that the schema allows."""

    name: str
    #: The schema as a model is asked: prompts and output schemas are made of this one.
    asked: ExtractionSchema
    coding: Coding

    @property
    def is_plain(self) -> bool:
        """Whether answers are said in the schema's own words."""
        return self.name == PLAIN

    @property
    def output_schema(self) -> Mapping[str, object]:
        """The JSON Schema of a pack's answer; in the compact form without words that the system prompt has said."""
        return output_schema(self.asked, is_bare=not self.is_plain)

    def encode(self, values: Mapping[str, object]) -> Mapping[str, object]:
        """Values of the original schema in this form."""
        said = self.coding.encoded(values)
        assert isinstance(said, Mapping)
        return said

    def decode(self, said: Mapping[str, object]) -> Mapping[str, object]:
        """The values behind an answer. Fields and choices said in the schema's own words are taken as they are meant.

        Nothing is validated here. Raises NotDecodable when one value is said twice.
        """
        values = self.coding.decoded(said)
        assert isinstance(values, Mapping)
        return values


def answer_form(schema: ExtractionSchema, name: str) -> AnswerForm:
    """The form of this name, `COMPACT` or `PLAIN`, for the answers to a schema."""
    if name == PLAIN:
        return AnswerForm(name=PLAIN, asked=schema, coding=Same())
    coding, asked = _coded(ordered_json(schema.answer_schema))
    return AnswerForm(name=COMPACT, asked=replace(schema, answer_schema=asked), coding=coding)


@lru_cache(maxsize=32)
def _coded(answer_schema: str) -> tuple[Coding, Mapping[str, Any]]:
    return coded_schema(json.loads(answer_schema))
