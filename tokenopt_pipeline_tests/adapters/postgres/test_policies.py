"""What a policy file said, and every change of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tokenopt_pipeline.adapters.postgres.connection import connect
from tokenopt_pipeline.adapters.postgres.policies import PostgresPolicies
from tokenopt_pipeline_tests.stages.rig import Rig

SMALL, LARGE = {"packing": {"pack_size": 2}}, {"packing": {"pack_size": 20}}


def test_only_changes_are_kept_with_who_when_old_and_new(rig: Rig) -> None:
    policies, clock = PostgresPolicies(rig.connection), rig.clock
    first = clock.now()
    assert policies.seen("p.yaml", SMALL, who="ann", now=first)
    clock.advance(60)
    assert not policies.seen("p.yaml", SMALL, who="bob", now=clock.now())
    assert policies.seen("p.yaml", LARGE, who="bob", now=clock.now())

    assert policies.changes() == [
        {"path": "p.yaml", "changed_by": "bob", "changed_at": clock.now(), "old_policy": SMALL, "new_policy": LARGE},
        {"path": "p.yaml", "changed_by": "ann", "changed_at": first, "old_policy": None, "new_policy": SMALL},
    ]


def test_a_policy_that_goes_back_is_a_change_too(rig: Rig) -> None:
    policies = PostgresPolicies(rig.connection)
    changed = [policies.seen("p.yaml", p, who="ann", now=rig.clock.now()) for p in (SMALL, LARGE, SMALL, SMALL)]
    assert changed == [True, True, True, False]


def test_files_are_told_apart_by_their_path(rig: Rig) -> None:
    policies = PostgresPolicies(rig.connection)
    assert policies.seen("a.yaml", SMALL, who="ann", now=rig.clock.now())
    assert policies.seen("b.yaml", SMALL, who="ann", now=rig.clock.now())
    assert [c["path"] for c in policies.changes(1)] == ["b.yaml"]


def test_processes_that_see_a_new_file_at_once_note_it_once(rig: Rig, database_url: str) -> None:
    def see(_: int) -> bool:
        with connect(database_url) as connection:
            return PostgresPolicies(connection).seen("p.yaml", SMALL, who="ann", now=rig.clock.now())

    with ThreadPoolExecutor(4) as processes:
        seen = list(processes.map(see, range(8)))

    assert sorted(seen) == [False] * 7 + [True]
    assert len(PostgresPolicies(rig.connection).changes()) == 1
