"""A reply in Gemini's wire shape."""

from __future__ import annotations

from dataclasses import dataclass

from tokenopt_pipeline.sandbox.google_models import GeminiModel
from tokenopt_pipeline.sandbox.google_turns import call_parts
from tokenopt_pipeline.sandbox.json_value import Json, JsonObject
from tokenopt_pipeline.sandbox.prefix_cache import CacheUse
from tokenopt_pipeline.sandbox.reply import Reply

_RATED = ("HATE_SPEECH", "DANGEROUS_CONTENT", "HARASSMENT", "SEXUALLY_EXPLICIT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Everything a response is made of."""

    response_id: str
    model: GeminiModel
    key: str
    """The caller's, which calls are signed for."""
    thinks: bool
    reply: Reply
    prompt_blocked: bool
    """Whether the prompt itself was stopped, so that there is no candidate."""
    thoughts_tokens: int
    use: CacheUse

    @property
    def output_tokens(self) -> int:
        """Everything billed as output."""
        return 0 if self.reply.refused else self.reply.output_tokens + self.thoughts_tokens

    @property
    def finish_reason(self) -> str:
        """Why the model stopped; what the counters call a blocked prompt."""
        if self.prompt_blocked:
            return "PROMPT_BLOCKED"
        if self.reply.refused:
            return "SAFETY"
        return "MAX_TOKENS" if self.reply.truncated else "STOP"


def response_body(answered: Answered) -> JsonObject:
    """The response."""
    body: JsonObject = {
        "usageMetadata": _usage(answered),
        "modelVersion": answered.model.id,
        "responseId": answered.response_id,
    }
    if answered.prompt_blocked:
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **body}
    return {"candidates": [_candidate(answered)], **body}


def text_details(tokens: int) -> list[Json]:
    """Tokens by modality, of which the sandbox knows one."""
    return [{"modality": "TEXT", "tokenCount": tokens}]


def _candidate(answered: Answered) -> JsonObject:
    if answered.reply.refused:
        ratings: list[Json] = [
            {"category": f"HARM_CATEGORY_{name}", "probability": "HIGH" if name == _RATED[0] else "NEGLIGIBLE"}
            for name in _RATED
        ]
        return {"content": {}, "finishReason": "SAFETY", "index": 0, "safetyRatings": ratings}
    content: JsonObject = {"role": "model"}
    if answered.reply.calls:
        parts = call_parts(
            answered.reply.calls,
            response_id=answered.response_id,
            key=answered.key,
            model=answered.model,
            thinks=answered.thinks,
        )
        content = {"parts": parts, "role": "model"}
    elif answered.reply.text:
        content = {"parts": [{"text": answered.reply.text}], "role": "model"}
    return {"content": content, "finishReason": answered.finish_reason, "index": 0}


def _usage(answered: Answered) -> JsonObject:
    use = answered.use
    prompt_tokens = use.read_tokens + use.uncached_tokens
    usage: JsonObject = {
        "promptTokenCount": prompt_tokens,
        "totalTokenCount": prompt_tokens + answered.output_tokens,
        "promptTokensDetails": text_details(prompt_tokens),
        "serviceTier": "standard",
    }
    # What is zero is left out, as in every recorded exchange.
    if use.read_tokens:
        usage["cachedContentTokenCount"] = use.read_tokens
        usage["cacheTokensDetails"] = text_details(use.read_tokens)
    if not answered.reply.refused:
        if answered.reply.output_tokens:
            usage["candidatesTokenCount"] = answered.reply.output_tokens
        if answered.thoughts_tokens:
            usage["thoughtsTokenCount"] = answered.thoughts_tokens
    return usage
