"""What foreign pages can send is refused; what Dagster's own UI and local programs send gets through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tokenopt_pipeline.defs.webserver import guarded_app, main, own_hosts

HERE = "http://127.0.0.1:3333"
MUTATION = 'mutation { setConcurrencyLimit(concurrencyKey: "written", limit: 1) }'
QUERY = "{ version }"
REPORT = "/report_asset_materialization/reported"
JSON = "application/json"


@contextmanager
def served(instance: dg.DagsterInstance, *, read_only: bool = False) -> Iterator[TestClient]:
    with (
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget(), version="tested", read_only=read_only) as context,
        TestClient(guarded_app(context, port=3333), base_url=HERE, follow_redirects=False) as client,
    ):
        yield client


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture(scope="module")
def untouched() -> Iterator[dg.DagsterInstance]:
    """Shared by the tests that expect a refusal."""
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture(scope="module")
def client(untouched: dg.DagsterInstance) -> Iterator[TestClient]:
    with served(untouched) as client:
        yield client


def written(instance: dg.DagsterInstance) -> bool:
    reported = instance.get_latest_materialization_event(dg.AssetKey("reported")) is not None
    return reported or "written" in instance.event_log_storage.get_concurrency_keys()


def graphql(client: TestClient, query: str, **headers: str) -> Any:
    return client.post("/graphql", json={"query": query}, headers=headers)


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}], ids=["program", "own page"]
)
def test_a_mutation_posted_as_json_works(instance: dg.DagsterInstance, headers: dict[str, str]) -> None:
    with served(instance) as client:
        assert graphql(client, MUTATION, **headers).status_code == 200
    assert written(instance)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        pytest.param("GET", "/graphql", {}, id="a link"),
        pytest.param("GET", "/graphql", {"Accept": "text/html"}, id="a link that a browser follows"),
        pytest.param("HEAD", "/graphql", {}, id="HEAD"),
        pytest.param("POST", "/graphql", {}, id="a form without fields"),
        pytest.param("POST", "/graphql", {"Content-Type": "text/plain"}, id="text"),
        pytest.param("POST", "/graphql", {"Content-Type": f"text/plain; {JSON}"}, id="text that mentions JSON"),
        pytest.param("POST", "/graphql", {"Content-Type": "application/graphql"}, id="bare GraphQL"),
        pytest.param("POST", REPORT, {}, id="a report without a body"),
        pytest.param("POST", REPORT, {"Content-Type": "text/plain"}, id="a report as text"),
        pytest.param("GET", "/dagit_info", {}, id="an old name of a page"),
        pytest.param("PUT", "/graphql", {"Content-Type": JSON}, id="PUT"),
    ],
)
def test_only_a_json_post_reaches_what_changes_things(
    client: TestClient, untouched: dg.DagsterInstance, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = client.request(method, path, params={"query": MUTATION}, headers=headers)
    assert answer.status_code == 403
    assert not written(untouched)


@pytest.mark.parametrize("path", ["/graphql", REPORT, "/assets", "/server_info"])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "https://example.org"}, id="foreign Origin"),
        pytest.param({"Origin": "null"}, id="sandboxed frame"),
        pytest.param({"Origin": "https://127.0.0.1:3333"}, id="other scheme"),
        pytest.param({"Origin": "http://127.0.0.1:8000"}, id="another server of this machine"),
        pytest.param({"Host": "example.org:3333"}, id="a name that resolves to loopback"),
        pytest.param({"Host": "127.0.0.1"}, id="another port"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="cross-site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="same-site"),
    ],
)
def test_a_foreign_page_is_refused_everywhere(
    client: TestClient, untouched: dg.DagsterInstance, path: str, headers: dict[str, str]
) -> None:
    posts = path in ("/graphql", REPORT)
    answer = client.request(
        "POST" if posts else "GET", path, json={"query": MUTATION} if posts else None, headers=headers
    )
    assert answer.status_code == 403
    assert not written(untouched)


def test_two_host_headers_are_refused(client: TestClient) -> None:
    answer = client.get("/server_info", headers=[("Host", "127.0.0.1:3333"), ("Host", "example.org")])
    assert answer.status_code == 403


def test_pages_are_served_under_both_names_of_loopback_and_in_nobodys_frame(client: TestClient) -> None:
    for host in ("127.0.0.1:3333", "localhost:3333"):
        page = client.get("/assets", headers={"Host": host, "Sec-Fetch-Site": "none"})
        assert page.status_code == 200
        assert page.headers["x-frame-options"] == "DENY"


def test_a_program_reports_a_materialization_as_json(instance: dg.DagsterInstance) -> None:
    with served(instance) as client:
        assert client.post(REPORT, json={}).status_code == 200
    assert written(instance)


def test_read_only_answers_queries_and_refuses_mutations_and_reports(instance: dg.DagsterInstance) -> None:
    with served(instance, read_only=True) as client:
        assert graphql(client, QUERY).json()["data"]["version"] == "tested"
        assert "errors" in graphql(client, MUTATION).json()
        assert client.post(REPORT, json={}).status_code == 401
    assert not written(instance)


def test_a_subscription_of_our_own_page_is_accepted(client: TestClient) -> None:
    with client.websocket_connect("ws://127.0.0.1:3333/graphql", ["graphql-ws"], headers={"Origin": HERE}) as socket:
        socket.send_json({"type": "connection_init", "payload": {}})
        assert socket.receive_json() == {"type": "connection_ack"}


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no Origin"),
        pytest.param({"Origin": "https://example.org"}, id="foreign Origin"),
        pytest.param({"Origin": HERE, "Host": "example.org"}, id="foreign Host"),
    ],
)
def test_a_foreign_subscription_is_refused(client: TestClient, headers: dict[str, str]) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client.websocket_connect("ws://127.0.0.1:3333/graphql", ["graphql-ws"], headers=headers),
    ):
        pass
    assert refused.value.code == 1008


def test_on_port_80_browsers_send_no_port() -> None:
    assert "localhost" in own_hosts(80)
    assert "localhost" not in own_hosts(3333)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.2", "example.org", ""])
def test_it_is_served_on_loopback_only(host: str) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--host", host, "--port", "3333", "--workspace", "workspace.yaml"])
    reason = str(refused.value)
    assert "served on 127.0.0.1 only" in reason
    assert "\n" not in reason
