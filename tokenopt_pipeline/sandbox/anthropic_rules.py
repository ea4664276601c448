"""What the Messages API refuses although the request is well formed: limits, model capabilities, cache order, schemas."""

from __future__ import annotations

import json
from functools import lru_cache

import jsonschema_rs

from tokenopt_pipeline.sandbox.anthropic_errors import RequestRefused, invalid
from tokenopt_pipeline.sandbox.anthropic_request import MessagesRequest
from tokenopt_pipeline.sandbox.anthropic_schema import MAX_STRICT_TOOLS, GrammarLoad, SchemaRefused
from tokenopt_pipeline.sandbox.json_value import as_object, compact, is_number

MAX_BREAKPOINTS = 4
VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
# From this version on sampling parameters do not exist, not even at their defaults.
VERSION_WITHOUT_SAMPLING = "2026-10-21"
_SAMPLING_DEFAULTS = {"temperature": 1, "top_p": 1, "top_k": None}


def check_version(version: str | None) -> str:
    """The `anthropic-version` header. Raises RequestRefused."""
    if version is None:
        raise invalid("anthropic-version: header is required")
    if version not in VERSIONS:
        raise invalid(f'anthropic-version: "{version}" is not a valid version')
    return version


def check_request(request: MessagesRequest, version: str, *, counting: bool) -> None:
    """Raises RequestRefused for the first rule `request` breaks."""
    if not counting:
        _check_max_tokens(request)
    _check_sampling(request, version)
    _check_effort(request)
    _check_thinking(request)
    _check_tool_choice(request)
    _check_prefill(request)
    _check_breakpoints(request)
    _check_schemas(request)
    _check_version_shapes(request, version)


def _check_max_tokens(request: MessagesRequest) -> None:
    limit = request.model.max_output_tokens
    if request.max_tokens > limit:
        raise invalid(
            f"max_tokens: {request.max_tokens} > {limit}, which is the maximum allowed number of output tokens"
            f" for {request.model.id}"
        )
    if request.max_tokens == 0 and (request.stream or request.format_schema is not None or request.forces_tool):
        raise invalid(
            "max_tokens: 0 is not supported with stream, output_config.format or a tool_choice that forces tool use"
        )


def _check_sampling(request: MessagesRequest, version: str) -> None:
    for name, default in _SAMPLING_DEFAULTS.items():
        if name not in request.body:
            continue
        value = request.body[name]
        if version == VERSION_WITHOUT_SAMPLING:
            raise invalid(f"{name}: Extra inputs are not permitted")
        if not is_number(value):
            raise invalid(f"{name}: Input should be a valid number")
        if not request.model.sampling and value != default:
            raise invalid(f"`{name}` is deprecated for this model.")


def _check_effort(request: MessagesRequest) -> None:
    efforts = request.model.efforts
    if request.effort is None or request.effort in efforts:
        return
    if not efforts:
        raise invalid("This model does not support the effort parameter.")
    raise invalid(
        f"This model does not support effort level '{request.effort}'. Supported levels: {', '.join(sorted(efforts))}."
    )


def _check_thinking(request: MessagesRequest) -> None:
    kind = request.thinking
    if kind is None:
        return
    if kind not in request.model.thinking_types:
        accepted = request.model.thinking_types
        instead = "between_tools" if "between_tools" in accepted else accepted[0]
        raise invalid(
            f'"thinking.type.{kind}" is not supported for this model. Use "thinking.type.{instead}" and'
            ' "output_config.effort" to control thinking behavior.'
        )
    if kind == "enabled":
        budget = as_object(request.body["thinking"]).get("budget_tokens")
        if not isinstance(budget, int) or budget < 1024:
            raise invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if request.max_tokens and budget >= request.max_tokens:
            raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")
        if request.forces_tool:
            raise invalid("Thinking may not be enabled when tool_choice forces tool use.")
    thinking_is_off = kind in ("disabled", "between_tools")
    if thinking_is_off and request.model.thinks_by_default and request.effort in ("xhigh", "max"):
        raise invalid(f"\"thinking.type.{kind}\" is not supported at effort level '{request.effort}'.")


def _check_tool_choice(request: MessagesRequest) -> None:
    if request.tool_choice != "auto" and not request.tools and request.tool_choice != "none":
        raise invalid("tool_choice: tool_choice may only be specified while providing tools")
    if request.forces_tool and not request.model.forced_tool_choice:
        raise invalid(f'tool_choice: "{request.tool_choice}" is not supported for this model. Use "auto" instead.')
    names = [block.value["name"] for block in request.tools]
    if request.forced_tool is not None and request.forced_tool not in names:
        raise invalid(f"Tool '{request.forced_tool}' not found in provided tools")


def _check_prefill(request: MessagesRequest) -> None:
    if request.roles[-1] != "assistant":
        return
    if not request.model.prefill:
        raise invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    if request.format_schema is not None:
        raise invalid("output_config.format: assistant message prefill is not supported with structured outputs")


def _check_breakpoints(request: MessagesRequest) -> None:
    marked = [block for block in request.blocks if block.ttl is not None]
    found = len(marked)
    ttls = [(block.location, block.ttl) for block in marked]
    last = request.messages[-1]
    if request.automatic_ttl is not None:
        if last.ttl is not None and last.ttl != request.automatic_ttl:
            raise invalid("cache_control: ttl conflicts with the cache_control of the last block")
        if last.ttl is None:
            found += 1
            ttls.append(("cache_control", request.automatic_ttl))
    if found > MAX_BREAKPOINTS:
        raise invalid(f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {found}.")
    short_seen = False
    for location, ttl in ttls:
        if ttl == "1h" and short_seen:
            raise invalid(
                f"{location}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m'"
                " cache_control block. Note that blocks are processed in the following order: `tools`, `system`,"
                " `messages`."
            )
        short_seen = short_seen or ttl == "5m"


def _check_schemas(request: MessagesRequest) -> None:
    format_schema = None if request.format_schema is None else compact(request.format_schema)
    tools = tuple(
        (block.location, compact(block.value["input_schema"]), block.value.get("strict") is True)
        for block in request.tools
        if "input_schema" in block.value
    )
    refusal = _schemas_refusal(format_schema, tools)
    if refusal is not None:
        raise RequestRefused(400, "invalid_request_error", refusal)


@lru_cache(maxsize=256)
def _schemas_refusal(format_schema: str | None, tools: tuple[tuple[str, str, bool], ...]) -> str | None:
    """The message for the first schema refused; remembered, because every pack of a run carries the same schemas."""
    load = GrammarLoad()
    where = "output_config.format.schema"
    try:
        if format_schema is not None:
            load.add(json.loads(format_schema))
        for location, schema, strict in tools:
            where = f"{location}.custom"
            if not jsonschema_rs.meta.is_valid(json.loads(schema)):
                return (
                    f"{where}.input_schema: JSON schema is invalid. It must match JSON Schema draft 2020-12"
                    " (https://json-schema.org/draft/2020-12). Learn more about tool use at"
                    " https://docs.claude.com/en/docs/tool-use."
                )
            if strict:
                load.add(json.loads(schema))
    except SchemaRefused as refusal:
        return f"{where}: {refusal}"
    if sum(strict for _, _, strict in tools) > MAX_STRICT_TOOLS:
        return f"Too many strict tools ({sum(strict for _, _, strict in tools)}). The maximum number of strict tools supported is 20."
    try:
        load.check_limits()
    except SchemaRefused as refusal:
        return str(refusal)
    return None


def _check_version_shapes(request: MessagesRequest, version: str) -> None:
    if version != VERSION_WITHOUT_SAMPLING:
        return
    for block in request.messages:
        if block.role == "assistant" and block.value.get("type") == "document":
            raise invalid(f"{block.location}: document blocks are not permitted in assistant messages")
        if block.role == "user" and block.value.get("type") == "text" and block.value.get("citations"):
            raise invalid(f"{block.location}.citations: citations must be empty on user text blocks")
