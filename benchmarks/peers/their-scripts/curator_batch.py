"""bespokelabs-curator, batch mode, with its cache folder. argv: FOLDER."""

import json
import os
import sys
from pathlib import Path
from typing import Literal

folder = Path(sys.argv[1]).resolve()
os.environ["CURATOR_CACHE_DIR"] = str(folder / "curator")
os.environ["OPENAI_API_KEY"] = "standin"
os.environ["TELEMETRY_ENABLED"] = "0"
os.environ["CURATOR_DISABLE_RICH_DISPLAY"] = "1"

from bespokelabs import curator  # noqa: E402 - it reads the environment while it is imported
from pydantic import BaseModel  # noqa: E402

instructions = (folder / "instructions.txt").read_text()


class Clause(BaseModel):
    """One block's answer."""

    party: str
    amount: int
    subject: Literal["delivery", "payment", "defects", "notices"]


class Clauses(curator.LLM):
    """Asks for one block."""

    response_format = Clause

    def prompt(self, block: dict) -> list[dict]:
        """The messages of a block."""
        return [{"role": "system", "content": instructions}, {"role": "user", "content": block["text"]}]

    def parse(self, block: dict, clause: Clause) -> dict:
        """The row of a block."""
        return {"id": block["id"], **clause.model_dump()}


llm = Clauses(
    model_name="gpt-4.1-mini",
    backend="openai",
    batch=True,
    backend_params={
        "base_url": os.environ["PEER_BASE_URL"],
        "batch_size": 10_000,
        "batch_check_interval": 1,
        "require_all_responses": False,
    },
)
rows = llm(json.loads((folder / "blocks.json").read_text()))
rows = getattr(rows, "dataset", rows)
outputs = {row["id"]: {name: row[name] for name in ("party", "amount", "subject")} for row in rows}
(folder / "outputs.json").write_text(json.dumps(outputs))
