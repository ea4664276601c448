"""instructor's BatchProcessor, one block per request, as its documentation has it. argv: FOLDER."""

import json
import sys
import time
from pathlib import Path
from typing import Literal

from instructor.batch import BatchProcessor
from pydantic import BaseModel

folder = Path(sys.argv[1])
instructions = (folder / "instructions.txt").read_text()
blocks = json.loads((folder / "blocks.json").read_text())


class Clause(BaseModel):
    """One block's answer."""

    party: str
    amount: int
    subject: Literal["delivery", "payment", "defects", "notices"]


processor = BatchProcessor("openai/gpt-4.1-mini", Clause)
path = str(folder / "requests.jsonl")
processor.create_batch_from_messages(
    [[{"role": "system", "content": instructions}, {"role": "user", "content": block["text"]}] for block in blocks],
    file_path=path,
)
batch = processor.submit_batch(path)
while processor.get_batch_status(batch)["status"] not in ("completed", "failed", "expired", "cancelled"):
    time.sleep(0.25)
outputs = {}
for result in processor.retrieve_results(batch):
    if getattr(result, "result", None) is not None and result.success:
        # Its ids are positions.
        outputs[blocks[int(result.custom_id.removeprefix("request-"))]["id"]] = result.result.model_dump()
(folder / "outputs.json").write_text(json.dumps(outputs))
