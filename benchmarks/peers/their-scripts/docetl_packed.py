"""DocETL, a map operation with batch_prompt, ten blocks a call: the only peer that packs. argv: FOLDER."""

import json
import os
import sys
from pathlib import Path

folder = Path(sys.argv[1]).resolve()
os.environ["DOCETL_HOME_DIR"] = os.environ["HOME"] = str(folder)
os.environ["OPENAI_API_KEY"] = "standin"
os.environ["OPENAI_API_BASE"] = os.environ["OPENAI_BASE_URL"] = os.environ["PEER_BASE_URL"]

from docetl.runner import DSLRunner  # noqa: E402 - it reads the environment while it is imported

instructions = (folder / "instructions.txt").read_text()
config = {
    "default_model": "openai/gpt-4.1-mini",
    "datasets": {"blocks": {"type": "file", "path": str(folder / "blocks.json")}},
    "operations": [
        {
            "name": "clauses",
            "type": "map",
            "prompt": instructions + "\n\n{{ input.text }}",
            "batch_prompt": instructions + "\n\n{% for input in inputs %}{{ input.text }}\n{% endfor %}",
            "max_batch_size": 10,
            "output": {"schema": {"party": "string", "amount": "integer", "subject": "string"}},
        }
    ],
    "pipeline": {
        "steps": [{"name": "step", "input": "blocks", "operations": ["clauses"]}],
        "output": {"type": "file", "path": str(folder / "docetl.json"), "intermediate_dir": str(folder / "steps")},
    },
}
DSLRunner(config, max_threads=32).load_run_save()
rows = json.loads((folder / "docetl.json").read_text())
names = ("party", "amount", "subject")
outputs = {row["id"]: {name: row.get(name) for name in names} for row in rows if "id" in row}
(folder / "outputs.json").write_text(json.dumps(outputs))
