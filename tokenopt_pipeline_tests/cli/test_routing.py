"""`tokenopt route`: a policy from outcomes, what it would have done, and the same from a run's own reviews."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from tokenopt_pipeline.adapters.postgres.connection import Connection
from tokenopt_pipeline.cli.commands import tokenopt
from tokenopt_pipeline.domain.policy import resolve
from tokenopt_pipeline.domain.runs import Run, RunKind
from tokenopt_pipeline_tests.factories import a_schema_document
from tokenopt_pipeline_tests.stages.rig import Rig, clauses


def _outcomes(path: Path, *, tasks: dict[str, tuple[int, int]], doubts: bool = False) -> Path:
    """JSON lines of queries that mid gets right; small gets the first so many of each task wrong, and doubts those."""
    with path.open("w", encoding="utf-8") as lines:
        for task, (n, wrong) in tasks.items():
            for i in range(n):
                for tier, score, usd in (("small", float(i >= wrong), 0.001), ("mid", 1.0, 0.01)):
                    row: dict[str, Any] = {
                        "query_id": f"{task}-{i}",
                        "task": task,
                        "model": f"{tier}-model",
                        "tier": tier,
                    }
                    row |= {"score": score, "usd": usd, "text": f"Pay {i} euros for the month."}
                    if doubts and tier == "small":
                        row["doubts"] = ["schema"] if i < wrong else ["something_found"]
                    lines.write(json.dumps(row) + "\n")
    return path


@pytest.fixture
def outcomes(tmp_path: Path) -> Path:
    return _outcomes(tmp_path / "outcomes.jsonl", tasks={"easy": (200, 1), "hard": (200, 120)})


def _route(*arguments: str | Path, code: int = 0) -> Result:
    ended = CliRunner().invoke(tokenopt, ["route", *map(str, arguments)], prog_name="tokenopt")
    assert ended.exit_code == code, ended.output
    return ended


def _problem(*arguments: str | Path, code: int = 2) -> str:
    ended = _route(*arguments, code=code)
    (line,) = ended.stderr.splitlines()
    assert line.startswith("tokenopt: ")
    return line


def test_a_fitted_policy_is_yaml_on_stdout_and_its_figures_are_told_beside_it(outcomes: Path) -> None:
    ended = _route("fit", outcomes)
    routing = resolve([("file", yaml.safe_load(ended.stdout))]).policy.routing
    assert [(rule.tasks, rule.tier) for rule in routing.rules] == [(("easy",), "small")]
    assert "unseen" in ended.stderr
    assert "n = 400" in ended.stderr
    assert "hard" in ended.stderr


def test_the_same_outcomes_give_the_same_file_and_it_is_replaced_as_a_whole(outcomes: Path, tmp_path: Path) -> None:
    out = tmp_path / "policy.yaml"
    told = _route("fit", outcomes, "--out", out).stdout
    assert "easy" in told
    first = out.read_text()
    assert _route("fit", outcomes).stdout == first
    _route("fit", outcomes, "--out", out)
    assert out.read_text() == first
    assert list(tmp_path.glob("*.part")) == []


def test_a_fit_speaks_json(outcomes: Path, tmp_path: Path) -> None:
    ended = _route("fit", outcomes, "--out", tmp_path / "p.yaml", "--json", "--target", "-2pp")
    document = json.loads(ended.stdout)
    assert ended.stdout.count("\n") == 1
    assert (document["kind"], document["reference"], document["target"], document["n"]) == (
        "recorded",
        "mid",
        -0.02,
        400,
    )
    assert [(t["task"], t["tier"]) for t in document["tasks"]] == [("easy", "small"), ("hard", "mid")]
    assert document["saving"]["mean"] == pytest.approx(0.45)
    assert document["change"]["low"] < document["change"]["mean"] == pytest.approx(-0.0025)


def test_checks_are_fitted_where_the_outcomes_have_doubts(tmp_path: Path) -> None:
    path = _outcomes(tmp_path / "o.jsonl", tasks={"hard": (200, 60)}, doubts=True)
    document = json.loads(_route("fit", path, "--json").stdout)
    (task,) = document["tasks"]
    assert "schema" in task["escalate_on"]
    assert document["change"]["mean"] == 0.0
    without = json.loads(_route("fit", path, "--json", "--no-checks").stdout)
    assert without["tasks"][0]["escalate_on"] == []


def test_a_share_of_the_cost_may_stand_instead_of_a_target(outcomes: Path) -> None:
    document = json.loads(_route("fit", outcomes, "--json", "--max-spend", "56%").stdout)
    assert 1 - document["saving"]["mean"] <= 0.56
    assert document["max_spend"] == 0.56


def test_an_aim_that_no_choice_reaches_is_told_with_code_1(outcomes: Path) -> None:
    ended = _route("fit", outcomes, "--target", "+5pp", code=1)
    assert "aim +5.00 pp" in ended.stderr


def test_a_backtest_shows_every_strategy_with_its_interval(outcomes: Path, tmp_path: Path) -> None:
    out, plot = tmp_path / "policy.yaml", tmp_path / "pareto.png"
    _route("fit", outcomes, "--half", "fit", "--out", out)
    told = _route("backtest", out, outcomes, "--half", "test", "--plot", plot).stdout
    for name in ("always-small", "always-mid", "policy", "random", "perfect-check", "oracle"):
        assert f"\n{name} " in told
    assert "test half" in told
    assert "recorded" in told
    assert "pp (" in told
    with Image.open(plot) as image:
        assert image.format == "PNG"


def test_a_backtest_speaks_json_and_takes_the_models_that_the_policy_was_fitted_with(
    outcomes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "policy.yaml"
    _route("fit", outcomes, "--out", out)
    ended = _route("backtest", out, outcomes, "--json")
    document = json.loads(ended.stdout)
    assert ended.stdout.count("\n") == 1
    by_name = {s["name"]: s for s in document["strategies"]}
    assert document["models"] == {"small": "small-model", "mid": "mid-model"}
    assert by_name["policy"]["saving"]["mean"] == pytest.approx(0.45)
    assert by_name["policy"]["quality"] == pytest.approx(1 - 1 / 400)
    assert by_name["always-mid"]["change"] is None
    assert document["answered_by"] == {"small": 0.5, "mid": 0.5}
    assert document["plot"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fit",), ["file of outcomes", "--run RUN"]),
        (("fit", "OUTCOMES", "--run", "r0"), ["Name either"]),
        (("fit", "nowhere.csv"), ["nowhere.csv", "No such file"]),
        (("fit", "OUTCOMES", "--target", "little"), ["--target 'little'", "-1.0pp"]),
        (("fit", "OUTCOMES", "--target", "-101pp"), ["--target"]),
        (("fit", "OUTCOMES", "--max-spend", "0%"), ["--max-spend '0%'"]),
        (("fit", "OUTCOMES", "--max-spend", "much"), ["--max-spend 'much'"]),
        (("fit", "OUTCOMES", "--reference", "large"), ["--reference large", "small, mid were"]),
        (("fit", "OUTCOMES", "--mid", "gpt"), ["no model 'gpt'"]),
        (("fit", "OUTCOMES", "--out", "no-folder/p.yaml"), ["no-folder/p.yaml", "cannot be written"]),
        (("backtest", "nowhere.yaml", "OUTCOMES"), ["policy nowhere.yaml", "no such file"]),
        (("backtest", "LARGE", "OUTCOMES"), ["sends blocks to tier large", "--large"]),
        (("backtest", "BROKEN", "OUTCOMES"), [":3: routing.rules[0].tier = 'huge'"]),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], words: list[str], outcomes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = {"LARGE": "routing: {default_tier: large}", "BROKEN": "routing:\n  rules:\n    - {id: r, tier: huge}\n"}
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    found = {"OUTCOMES": str(outcomes), "LARGE": "LARGE.yaml", "BROKEN": "BROKEN.yaml"}
    problem = _problem(*(found.get(a, a) for a in arguments))
    assert all(word in problem for word in words), problem


def test_outcomes_that_cost_nothing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    path.write_text("query_id,task,model,tier,score,usd\nq,t,m,mid,1,0\n")
    assert "costs nothing" in _problem("fit", path)


def test_a_plot_leaves_out_what_costs_nothing(tmp_path: Path) -> None:
    path, plot = tmp_path / "o.csv", tmp_path / "p.png"
    path.write_text("query_id,task,model,tier,score,usd\nq,t,s,small,0,0\nq,t,m,mid,1,1\n")
    (tmp_path / "p.yaml").write_text("routing: {default_tier: mid}")
    assert json.loads(_route("backtest", tmp_path / "p.yaml", path, "--plot", plot, "--json").stdout)["plot"] == str(
        plot
    )
    assert plot.stat().st_size > 1_000


@pytest.fixture
def rig(connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setenv("TOKENOPT_DATABASE_URL", database_url)
    return Rig(connection=connection)


def _finished(rig: Rig, tier: str, schema: dict[str, Any]) -> Run:
    run = rig.plan(rig.request(schema=schema, routing={"default_tier": tier}))
    rig.finish(run)
    return run


def test_reviewed_blocks_of_runs_are_outcomes_too(rig: Rig, tmp_path: Path) -> None:
    rig.ingest(*clauses(40))
    runs = [_finished(rig, tier, a_schema_document(task="clauses")) for tier in ("small", "mid")]
    both = [option for run in runs for option in ("--run", run.run_id)]
    assert "confirmed" in _problem("fit", *both)
    rig.connection.execute(
        "update overlay set status = 'confirmed', confirmed = staged where run_no = %s", (runs[1].run_no,)
    )

    out = tmp_path / "policy.yaml"
    told = json.loads(_route("fit", *both, "--out", out, "--no-checks", "--json").stdout)

    assert told["models"] == {"small": "anthropic/claude-haiku-5-5", "mid": "anthropic/claude-sonnet-5-5"}
    assert (told["n"], told["change"]["mean"]) == (40, 0.0)
    assert told["source"] == f"simulated runs {runs[0].run_id}, {runs[1].run_id}, reviewed blocks"
    # The scripted provider answers both tiers alike, so nothing needs the dear one.
    assert [(t["task"], t["block_type"], t["tier"]) for t in told["tasks"]] == [("clauses", "paragraph", "small")]
    routing = resolve([("file", yaml.safe_load(out.read_text()))]).policy.routing
    assert str(routing.preferred("small")) == "anthropic/claude-haiku-5-5"


def test_runs_that_cannot_be_compared_are_refused(rig: Rig) -> None:
    rig.ingest(*clauses(2))
    one, other = rig.plan(), rig.plan(rig.request(schema=a_schema_document(task="another")))
    live = rig.plan(rig.request(kind=RunKind.LIVE))
    assert "different schemas" in _problem("fit", "--run", one.run_id, "--run", other.run_id)
    assert "simulated and live never mix" in _problem("fit", "--run", one.run_id, "--run", live.run_id)
    assert "r0" in _problem("fit", "--run", "r0")
