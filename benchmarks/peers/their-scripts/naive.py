"""The vendor's SDK, one block per call, 32 at once; no state. argv: FOLDER."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai

folder = Path(sys.argv[1])
instructions = (folder / "instructions.txt").read_text()
client = openai.OpenAI(base_url=os.environ["PEER_BASE_URL"], api_key="standin", max_retries=5)
schema = {
    "type": "object",
    "properties": {"party": {"type": "string"}, "amount": {"type": "integer"}, "subject": {"type": "string"}},
    "required": ["party", "amount", "subject"],
    "additionalProperties": False,
}


def ask(block: dict) -> tuple[str, dict | None]:
    """One block's answer; None when it is no JSON."""
    said = client.chat.completions.create(
        model="gpt-4.1-mini",
        messages=[{"role": "system", "content": instructions}, {"role": "user", "content": block["text"]}],
        response_format={"type": "json_schema", "json_schema": {"name": "clause", "schema": schema, "strict": True}},
    )
    try:
        return block["id"], json.loads(said.choices[0].message.content)
    except ValueError:
        return block["id"], None


with ThreadPoolExecutor(32) as pool:
    answers = dict(pool.map(ask, json.loads((folder / "blocks.json").read_text())))
(folder / "outputs.json").write_text(json.dumps({k: v for k, v in answers.items() if v is not None}))
