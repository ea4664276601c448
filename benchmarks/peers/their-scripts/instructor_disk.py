"""instructor, asynchronous, 32 at once, with its disk cache under a namespace. argv: FOLDER."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Literal

import instructor
import openai
from instructor.cache import DiskCache
from pydantic import BaseModel

folder = Path(sys.argv[1])
instructions = (folder / "instructions.txt").read_text()


class Clause(BaseModel):
    """One block's answer."""

    party: str
    amount: int
    subject: Literal["delivery", "payment", "defects", "notices"]


async def main() -> None:
    """Asks for every block."""
    sdk = openai.AsyncOpenAI(base_url=os.environ["PEER_BASE_URL"], api_key="standin", max_retries=5)
    client = instructor.from_openai(sdk, cache=DiskCache(directory=str(folder / "cache")))
    gate = asyncio.Semaphore(32)
    answers = {}

    async def ask(block: dict) -> None:
        async with gate:
            try:
                clause = await client.chat.completions.create(
                    model="gpt-4.1-mini",
                    response_model=Clause,
                    max_retries=3,
                    cache_namespace="peers",
                    messages=[{"role": "system", "content": instructions}, {"role": "user", "content": block["text"]}],
                )
            except Exception as problem:  # noqa: BLE001 - a tool's own failure is a result here
                sys.stderr.write(f"{block['id']}: {type(problem).__name__}\n")
                return
            answers[block["id"]] = clause.model_dump()

    await asyncio.gather(*(ask(block) for block in json.loads((folder / "blocks.json").read_text())))
    (folder / "outputs.json").write_text(json.dumps(answers))


asyncio.run(main())
