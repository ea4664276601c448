"""`tokenopt review`: people look at answers, agree, correct or reject."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from tokenopt_pipeline.cli.exits import DONE, contract
from tokenopt_pipeline.domain.answer_doubts import find_doubts
from tokenopt_pipeline.domain.doubts import Doubt, is_among
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.overlays import OverlayStatus
from tokenopt_pipeline.domain.review_edits import corrected

if TYPE_CHECKING:
    from tokenopt_pipeline.adapters.postgres.reviews import PostgresReviews
    from tokenopt_pipeline.cli.workspace import Workspace
    from tokenopt_pipeline.domain.reviews import Reviewer
    from tokenopt_pipeline.domain.runs import Run

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON object on stdout.")
_WAITING = {
    "unreviewed": (OverlayStatus.AI_COMPLETE,),
    "confirmed": (OverlayStatus.CONFIRMED,),
    "failed": (OverlayStatus.FAILED,),
    "all": (OverlayStatus.AI_COMPLETE, OverlayStatus.CONFIRMED, OverlayStatus.FAILED),
}
_EXCERPT_CHARS = 300


def _said(command: Callable[..., Any]) -> Callable[..., Any]:
    by = click.option("--by", metavar="NAME", help="Who reviews.  [default: this machine's user]")
    note = click.option("--note", metavar="TEXT", default="", help="Why, in a sentence; kept with the review.")
    return by(note(_AS_JSON(command)))


@click.group(short_help="Answers that people confirm, correct or reject.")
def review() -> None:
    """Look at a run's answers and say which are right.

    Confirmed answers go first when a later run reuses one, are exported with `export --confirmed`, and teach `route fit --run`
    what each tier is worth. Each review is kept, with who, when and why: `tokenopt explain BLOCK_UID --run RUN`.
    """


@review.command("list")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--state",
    type=click.Choice(list(_WAITING)),
    default="unreviewed",
    show_default=True,
    help="Answers nobody has reviewed, confirmed ones, blocks without an answer, or all three.",
)
@click.option("--doubtful", is_flag=True, help="Only answers with a doubt that routing.escalation.doubts names.")
@click.option("--most", default=20, show_default=True, type=click.IntRange(1, 100_000), help="Blocks to show.")
@_AS_JSON
@contract
def list_answers(run_id: str, state: str, doubtful: bool, most: int, as_json: bool) -> int:
    """Answers of RUN in document order, with the block's text and what is doubtful about them."""
    from tokenopt_pipeline.cli.workspace import open_workspace

    with open_workspace() as workspace:
        run, reviews = _opened(workspace, run_id)
        told = _told(run, reviews, _WAITING[state], is_doubtful=True if doubtful else None)
        shown = [document for _, document in islice(told, most)]
        left = sum(1 for _ in told)
    if as_json:
        click.echo(json.dumps({"run": run_id, "state": state, "blocks": shown, "not_shown": left}, ensure_ascii=False))
        return DONE
    for document in shown:
        click.echo("\n".join(_lines(document)))
    which = f"{'doubtful ' if doubtful else ''}{state if state != 'all' else ''} blocks".replace("  ", " ").strip()
    click.echo(f"{len(shown) + left:,} {which} in {run_id}{f', {left:,} not shown (--most)' if left else ''}", err=True)
    return DONE


@review.command("confirm")
@click.argument("run_id", metavar="RUN")
@click.argument("block_uids", metavar="[BLOCK_UID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every answer of the run that nobody has reviewed.")
@click.option(
    "--without-doubts", is_flag=True, help="Every such answer without a doubt that routing.escalation.doubts names."
)
@_said
@contract
def confirm(
    *,
    run_id: str,
    block_uids: tuple[str, ...],
    everything: bool,
    without_doubts: bool,
    by: str | None,
    note: str,
    as_json: bool,
) -> int:
    """Say that answers are right as the model gave them."""
    from tokenopt_pipeline.cli.workspace import open_workspace

    if bool(block_uids) + everything + without_doubts != 1:
        raise click.UsageError("Name blocks, or say --all or --without-doubts.")
    with open_workspace() as workspace:
        run, reviews = _opened(workspace, run_id)
        chosen: Sequence[str] | None = block_uids
        if everything:
            chosen = None
        elif without_doubts:
            told = _told(run, reviews, (OverlayStatus.AI_COMPLETE,), is_doubtful=False)
            chosen = [uid for uid, _ in told]
        n = reviews.confirm(run, _reviewer(by, note), chosen)
    return _done({"run": run_id, "confirmed": n}, f"{n:,} answers confirmed in {run_id}", as_json=as_json)


@review.command("edit", short_help="Say what is right instead.")
@click.argument("run_id", metavar="RUN")
@click.argument("block_uid")
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="One field's value; may be repeated.")
@click.option("--values", metavar="JSON", help="All values, as a JSON object; - reads them from standard input.")
@_said
@contract
def edit(
    *,
    run_id: str,
    block_uid: str,
    settings: tuple[str, ...],
    values: str | None,
    by: str | None,
    note: str,
    as_json: bool,
) -> int:
    """Confirm BLOCK_UID with values of your own, also where the model gave no usable answer.

    --set changes single fields of the answer that stands, --values replaces it. A VALUE is read as JSON where its field takes
    that, otherwise as text. The values must be valid against the schema.
    """
    from tokenopt_pipeline.adapters.json_schema import JsonSchemaValidators
    from tokenopt_pipeline.cli.workspace import open_workspace

    if bool(settings) == (values is not None):
        raise click.UsageError("Say what is right with --set FIELD=VALUE or with --values JSON.")
    whole = None if values is None else _object(sys.stdin.read() if values == "-" else values)
    validators = JsonSchemaValidators()
    with open_workspace() as workspace:
        run, reviews = _opened(workspace, run_id)
        violation, takes = validators.violation_of(run.schema), validators.takes(run.schema)

        def edited(answer: Mapping[str, Any] | None) -> Mapping[str, Any]:
            fields = list(run.schema.properties)
            new = corrected(answer, settings, fields=fields, is_valid=takes) if whole is None else whole
            if (problem := violation(new)) is not None:
                raise InvalidInput(f"block {block_uid}: schema {run.schema.ref} does not allow these values: {problem}")
            return new

        answer = reviews.correct(run, _reviewer(by, note), block_uid, edited)
    shown = json.dumps(answer, ensure_ascii=False)
    return _done({"run": run_id, "block": block_uid, "values": answer}, f"{block_uid}: {shown}", as_json=as_json)


@review.command("reject")
@click.argument("run_id", metavar="RUN")
@click.argument("block_uids", metavar="BLOCK_UID...", nargs=-1, required=True)
@_said
@contract
def reject(*, run_id: str, block_uids: tuple[str, ...], by: str | None, note: str, as_json: bool) -> int:
    """Say that answers are wrong: their blocks count as failed, and no run reuses the answers.

    The next run over the collection asks these blocks again, and only them; with --model or --policy it can ask somebody else.
    """
    from tokenopt_pipeline.cli.workspace import open_workspace

    with open_workspace() as workspace:
        run, reviews = _opened(workspace, run_id)
        n = reviews.reject(run, _reviewer(by, note), block_uids)
    return _done({"run": run_id, "rejected": n}, f"{n:,} answers rejected in {run_id}", as_json=as_json)


def _opened(workspace: Workspace, run_id: str) -> tuple[Run, PostgresReviews]:
    from tokenopt_pipeline.adapters.postgres.reviews import PostgresReviews
    from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns

    return PostgresRuns(workspace.connection).find(run_id), PostgresReviews(workspace.connection)


def _reviewer(by: str | None, note: str) -> Reviewer:
    from tokenopt_pipeline.adapters.clock import SystemClock
    from tokenopt_pipeline.cli.workspace import who
    from tokenopt_pipeline.domain.reviews import Reviewer

    return Reviewer(name=by or who(), at=SystemClock().now(), note=note)


def _told(
    run: Run, reviews: PostgresReviews, statuses: Sequence[OverlayStatus], *, is_doubtful: bool | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(block uid, the block with its answer and doubts); None: whether or not anything is doubted."""
    for row in reviews.blocks(run, statuses):
        doubts = _doubts(run, row)
        if is_doubtful is None or is_doubtful is any(
            is_among(d.id, run.policy.routing.escalation.doubts) for d in doubts
        ):
            told = [{"id": d.id, "path": d.path, "evidence": d.evidence} for d in doubts]
            block = {k: v for k, v in row.items() if k not in ("block_no", "block_uid")}
            yield row["block_uid"], {"block": row["block_uid"], **block, "doubts": told}


def _doubts(run: Run, row: Mapping[str, Any]) -> list[Doubt]:
    if row["answer"] is None:
        return []
    schema = run.schema
    # What stands was valid when it was stored.
    found = find_doubts(schema.answer_schema, row["answer"], row["text"], violation=None, checks=schema.checks)
    return [doubt for doubt in found if doubt.id not in ("something_found", "nothing_found")]


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    text = " ".join(document["text"].split())
    model = "" if document["model"] is None else f", {document['tier']} {document['model']}"
    yield f"block       {document['block']}   {document['block_type']}, {document['status']}{model}"
    yield f"            “{text[:_EXCERPT_CHARS]}{'…' if len(text) > _EXCERPT_CHARS else ''}”"
    if document["answer"] is None:
        yield f"            {document['error_class']}: {document['error_detail']}"
    for name, value in (document["answer"] or {}).items():
        yield f"  {name} = {json.dumps(value, ensure_ascii=False)}"
    for doubt in document["doubts"]:
        yield f"  doubt     {doubt['id']}{f' at {path}' if (path := doubt['path']) else ''}: {doubt['evidence']}"
    yield ""


def _object(text: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as problem:
        raise InvalidInput(f"--values is not JSON: {problem}") from problem
    if not isinstance(document, dict):
        raise InvalidInput(f"--values: a JSON object is needed, found {type(document).__name__}")
    return document


def _done(told: Mapping[str, Any], line: str, *, as_json: bool) -> int:
    click.echo(json.dumps(told, ensure_ascii=False) if as_json else line)
    return DONE


COMMANDS = (review,)
