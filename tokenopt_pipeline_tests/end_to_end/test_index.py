"""`tokenopt index` as people use it: built, searched, listed, killed in the middle and taken up again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tokenopt_pipeline_tests.adapters.embedding_server import EmbeddingServer, embedding_server
from tokenopt_pipeline_tests.end_to_end.terminal import Terminal, terminal_at
from tokenopt_pipeline_tests.postgres_servers import database_copy, wait_until
from tokenopt_pipeline_tests.stages.reference_rig import GUIDE

_EMBEDDER = "custom/stand-in:8"


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as running:
        yield running


@pytest.fixture
def terminal(embedded_server: tuple[str, Path], server: EmbeddingServer, tmp_path: Path) -> Iterator[Terminal]:
    with database_copy(embedded_server[0], "indexed") as url:
        yield terminal_at(
            tmp_path, tmp_path, TOKENOPT_DATABASE_URL=url, TOKENOPT_EMBEDDINGS_BASE_URL=f"{server.url}/v1"
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in GUIDE.items():
        path = tmp_path / "guide" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "guide"


def test_a_reference_is_built_listed_and_searched(terminal: Terminal, folder: Path) -> None:
    built = terminal.tok("index", "build", folder, "--name", "guide", "--embedder", "none", "--json").json()
    assert (built["chunks"], built["rules"], built["sources"], built["embedder"]) == (5, 2, 4, None)
    assert terminal.tok("index", "build", folder, "--name", "guide", "--embedder", "none").out.endswith(
        "4 files; current already\n"
    )

    [listed] = terminal.tok("index", "list", "--json").json()["references"]
    assert listed["index"]["digest"] == built["digest"]

    found = terminal.tok("index", "search", "guide", "They are not here.", "--k", "2", "--json").json()
    assert [(hit["rank"], hit["source"], hit["evidence"]) for hit in found["hits"]][:1] == [
        (1, "guide/Style/Contractions.yml", "rule")
    ]
    assert "Contractions" in terminal.tok("index", "search", "guide", "They are not here.").out


def test_what_rules_of_another_reference_lend_is_measured_and_searched(
    terminal: Terminal, folder: Path, tmp_path: Path
) -> None:
    page, probes = tmp_path / "about.md", tmp_path / "probes.jsonl"
    page.write_text("# Shortened forms\n\nUse contractions instead of long forms.")
    probes.write_text(
        "\n".join(json.dumps({"query": f"They are not here {n}.", "relevant": ["about.md"]}) for n in range(40))
    )
    terminal.tok("index", "build", folder, "--name", "guide", "--embedder", "none")
    build = ("index", "build", page, "--name", "about", "--embedder", "none", "--probes", probes)

    assert terminal.tok(*build, "--json").json()["probes"]["rules"] == []
    assert " unseen probes with rules of guide; " in terminal.tok(*build, "--rules", "guide").out
    [about, _] = terminal.tok("index", "list", "--json").json()["references"]
    assert (about["index"]["probes"]["rules"], about["index"]["probes"]["recall"]) == (["guide"], 1)
    asked = ("index", "search", "about", "They are not here.", "--json")
    assert terminal.tok(*asked).json()["hits"] == []
    assert terminal.tok(*asked, "--rules", "guide").json()["hits"][0]["source"] == "about.md"
    said = terminal.tok(*build, "--rules", "about", code=2).err
    assert said == "tokenopt: reference 'about' speaks for itself: only rules of others are lent to its probes\n"


def test_bad_input_is_told_in_one_line_and_builds_nothing(terminal: Terminal, folder: Path, tmp_path: Path) -> None:
    (folder / "broken.md").write_text("")
    probes = tmp_path / "probes.jsonl"
    probes.write_text('{"query": "q"}')

    for arguments in (
        ("index", "build", folder, "--name", "guide"),
        ("index", "build", folder / "pages", "--name", "No Name"),
        ("index", "build", folder / "pages", "--name", "guide", "--embedder", "nobody/x"),
        ("index", "build", folder / "pages", "--name", "guide", "--probes", probes),
        ("index", "search", "guide", "words"),
    ):
        said = terminal.tok(*arguments, code=2)
        assert said.err.startswith("tokenopt: ")
        assert said.err.count("\n") == 1
    assert terminal.tok("index", "list", "--json").json() == {"references": []}


def test_a_build_killed_in_the_middle_leaves_the_old_index_serving_and_goes_on_without_paying_twice(
    terminal: Terminal, folder: Path, server: EmbeddingServer
) -> None:
    build = ("index", "build", str(folder), "--name", "guide", "--embedder", _EMBEDDER, "--json")
    first = terminal.tok(*build).json()
    for n in range(300):
        (folder / f"p{n}.md").write_text(f"# Page {n}\n\nText number {n}.")
    server.asked.clear()
    # The third request is not answered until the process is dead.
    server.hold_after = 2

    started = terminal.start(*build)
    wait_until(lambda: len(server.asked) == 3 or started.wait(0) is not None)
    started.kill()
    server.hold_after = None
    server.released.set()

    [left] = terminal.tok("index", "list", "--json").json()["references"]
    assert (left["index"]["index"], left["index"]["stale"]) == (first["index"], True)
    found = terminal.tok("index", "search", "guide", "a bulleted list", "--json").json()
    assert found["hits"][0]["source"] == "guide/pages/lists.md"

    resumed = terminal.tok(*build).json()
    assert (resumed["embedded"], resumed["reused"]) == (300 - 128, 5 + 128)
    assert not resumed["stale"]
    with psycopg.connect(terminal.environment["TOKENOPT_DATABASE_URL"]) as connection:
        stored = connection.execute("select count(*) from tokenopt.passage_embedding").fetchone()
    assert stored == (305,)
    # What was paid is told, at a price that nobody has declared.
    assert (resumed["embedding"]["requests"], resumed["embedding"]["usd"]) == (3, None)


def test_a_price_that_the_policy_declares_is_what_an_index_is_booked_at(
    terminal: Terminal, folder: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(json.dumps({"models": {"custom/stand-in": {"price": {"input": "2", "output": "0"}}}}))
    build = ("index", "build", folder, "--name", "guide", "--embedder", _EMBEDDER, "--policy", policy)

    # The server says one token for a request.
    assert terminal.tok(*build, "--json").json()["embedding"] == {"requests": 1, "tokens": 1, "usd": 0.000002}
    assert terminal.tok(*build, "--json").json()["embedding"] == {"requests": 0, "tokens": 0, "usd": 0}


def test_json_is_one_object_also_for_an_error(terminal: Terminal) -> None:
    said = terminal.tok("index", "search", "nothing", "words", "--json", code=2)

    assert json.loads(said.out)["error_class"] == "NotFound"
