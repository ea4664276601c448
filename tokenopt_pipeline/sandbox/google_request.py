"""A request to Gemini, read from its body and checked: prompts to answer, to count, and to keep in a cache."""

from __future__ import annotations

from dataclasses import dataclass

from tokenopt_pipeline.sandbox import google_errors as errors
from tokenopt_pipeline.sandbox.automatic_prefix import PromptPart
from tokenopt_pipeline.sandbox.google_fields import known_fields, read_fields
from tokenopt_pipeline.sandbox.google_models import GeminiModel
from tokenopt_pipeline.sandbox.google_schema import from_openapi, schema_refusal
from tokenopt_pipeline.sandbox.google_turns import part_text, read_offer
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject, as_list, as_object, compact, strings_in
from tokenopt_pipeline.sandbox.pack import asked_in
from tokenopt_pipeline.sandbox.tokens import tokens_of_chars
from tokenopt_pipeline.sandbox.tool_calls import Offer

# The fields of google-genai 3.4.0's types and those recorded requests use.
_FIELDS = frozenset(
    {
        *("model", "contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig"),
        *("cachedContent", "serviceTier", "store", "labels", "continuationToken"),
    }
)
_GENERATION_FIELDS = frozenset(
    {
        *("temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "responseLogprobs"),
        *("logprobs", "presencePenalty", "frequencyPenalty", "seed", "responseMimeType", "responseSchema"),
        *("responseJsonSchema", "responseModalities", "mediaResolution", "speechConfig", "thinkingConfig"),
        *("imageConfig", "enableEnhancedCivicAnswers", "audioTranscriptionConfig", "routingConfig"),
    }
)
_LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH", "THINKING_LEVEL_UNSPECIFIED")
_JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """What the sandbox needs of a request, in the order the model reads it."""

    model: GeminiModel
    system: tuple[PromptPart, ...]
    contents: tuple[PromptPart, ...]
    prompt: str
    """What the user asks."""
    cached_name: str | None
    max_output_tokens: int
    json_mode: bool
    """Whether the answer has to be JSON."""
    schema: JsonObject | None
    thinks: bool
    offer: Offer
    """What the model may do with functions."""
    fields: JsonObject
    """The whole request."""

    @property
    def parts(self) -> tuple[PromptPart, ...]:
        """The whole prompt."""
        return (*self.system, *self.contents)


def read_generate(body: bytes, model: GeminiModel) -> GenerateRequest:
    """The request in `body`. Raises GoogleRefused."""
    return _generate(read_fields(body), model)


def read_count(body: bytes, model: GeminiModel) -> GenerateRequest:
    """The prompt to count in `body`: contents alone, or a whole request. Raises GoogleRefused."""
    fields = read_fields(body)
    known_fields(fields, ("contents", "generateContentRequest"), "")
    if ("contents" in fields) == ("generateContentRequest" in fields):
        raise errors.invalid("Exactly one of contents and generate_content_request must be set.")
    return _generate(as_object(fields.get("generateContentRequest", fields)), model)


def parts_tokens(parts: tuple[PromptPart, ...]) -> int:
    """Tokens of `parts`; schemas are not among them, because recorded exchanges bill none."""
    return tokens_of_chars(sum(len(part.text) for part in parts))


def read_contents(fields: JsonObject) -> tuple[PromptPart, ...]:
    """The contents in `fields`. Raises GoogleRefused."""
    parts: list[PromptPart] = []
    for content in as_list(fields.get("contents")):
        role = as_object(content).get("role") or "user"
        if role not in ("user", "model"):
            raise errors.invalid("Please use a valid role: user, model.")
        parts.extend(_parts(content, str(role)))
    return tuple(parts)


def read_system(fields: JsonObject) -> tuple[PromptPart, ...]:
    """The system part in `fields`: tools first, then the instruction."""
    tools = compact(fields["tools"]) if fields.get("tools") else ""
    named = [PromptPart(role="tools", text=tools)] if tools else []
    return (*named, *_parts(fields.get("systemInstruction"), "system"))


def _generate(fields: JsonObject, model: GeminiModel) -> GenerateRequest:
    known_fields(fields, _FIELDS, "")
    contents = read_contents(fields)
    if not contents:
        raise errors.invalid("* GenerateContentRequest.contents: contents is not specified\n")
    generation = as_object(fields.get("generationConfig"))
    known_fields(generation, _GENERATION_FIELDS, "generation_config")
    cached_name = fields.get("cachedContent")
    if cached_name is not None and any(fields.get(name) for name in ("systemInstruction", "tools", "toolConfig")):
        raise errors.invalid(
            "CachedContent can not be used with GenerateContent request setting system_instruction, tools or tool_config."
        )
    json_mode = generation.get("responseMimeType") == _JSON
    return GenerateRequest(
        model=model,
        system=read_system(fields),
        contents=contents,
        prompt=_asked(fields),
        cached_name=None if cached_name is None else str(cached_name),
        max_output_tokens=_max_output_tokens(generation.get("maxOutputTokens"), model),
        json_mode=json_mode,
        schema=_schema(generation),
        thinks=_thinks(as_object(generation.get("thinkingConfig")), model),
        offer=read_offer(fields, model, json_mode=json_mode),
        fields=fields,
    )


def _parts(content: Json, role: str) -> list[PromptPart]:
    if isinstance(content, str):
        return [PromptPart(role=role, text=content)]
    parts = []
    for part in as_list(as_object(content).get("parts")):
        text = as_object(part).get("text")
        if not isinstance(text, str):
            text = part_text(as_object(part))
        parts.append(PromptPart(role=role, text=strings_in(part) if text is None else text))
    return parts


def _asked(fields: JsonObject) -> str:
    said = [
        "\n".join(part.text for part in _parts(content, "user"))
        for content in as_list(fields.get("contents"))
        if as_object(content).get("role", "user") == "user" and not _brings_responses(content)
    ]
    return asked_in(said)


def _brings_responses(content: Json) -> bool:
    return any("functionResponse" in as_object(part) for part in as_list(as_object(content).get("parts")))


def _max_output_tokens(value: Json, model: GeminiModel) -> int:
    if value is None:
        return model.max_output_tokens
    if not isinstance(value, int) or isinstance(value, bool):
        raise errors.invalid("Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32).")
    if not 1 <= value <= model.max_output_tokens:
        raise errors.invalid(
            f"Unable to submit request because it has a maxOutputTokens value of {value} but the supported range is from 1"
            f" (inclusive) to {model.max_output_tokens + 1} (exclusive). Update the value and try again."
        )
    return value


def _schema(generation: JsonObject) -> JsonObject | None:
    openapi, schema = generation.get("responseSchema"), generation.get("responseJsonSchema")
    if openapi is None and schema is None:
        return None
    if openapi is not None and schema is not None:
        raise errors.invalid("Only one of response_schema and response_json_schema may be set.")
    if generation.get("responseMimeType") != _JSON:
        raise errors.invalid("A response schema needs response_mime_type 'application/json'.")
    if openapi is not None:
        return from_openapi(as_object(openapi))
    refusal = schema_refusal(compact(schema))
    if refusal is not None:
        raise errors.invalid(refusal)
    return as_object(schema)


def _thinks(config: JsonObject, model: GeminiModel) -> bool:
    level, budget = config.get("thinkingLevel"), config.get("thinkingBudget")
    if level is not None and budget is not None:
        raise errors.invalid("You can only set only one of thinking budget and thinking level.")
    if level is not None and not model.thinks_by_level:
        raise errors.invalid("Thinking level is not supported for this model.")
    if level is not None and str(level).upper() not in _LEVELS:
        raise errors.invalid(f"Invalid value at 'generation_config.thinking_config.thinking_level', \"{level}\"")
    return budget != 0
