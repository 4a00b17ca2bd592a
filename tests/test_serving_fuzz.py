# ruff: noqa: F811 (a fixture that is imported is named again where it is used)
"""What nobody thought of: requests made from the server's own description, and broken pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import importlib
import json
import random
import socket
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from test_serving import ask, complaints, folder, model, photo, serving  # noqa: F401 (fixtures)

from nstlib.adain import AdaIN

BROKEN = 150
EXAMPLES = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
HELD_TO = [
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
]


@pytest.fixture(scope="module")
def client(folder: Path, model: AdaIN) -> Iterator[httpx.Client]:
    with serving(folder, model, max_painted=10_000) as client:
        yield client


@pytest.fixture
def tools(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(root / "tools")
    return {name: importlib.import_module(name) for name in ("serving_load", "serving_fuzz")}


# ------------------------------------------------------------------------- what is described


def test_what_is_answered_is_what_is_described(client: httpx.Client) -> None:
    interface = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    checks, statuses = CHECKS.get_by_names(HELD_TO), Counter[int]()

    def answered(case: Any) -> None:
        reply = case.call()
        assert reply.status_code < 500 or reply.status_code == 503
        case.validate_response(reply, checks=checks)
        statuses[reply.status_code] += 1

    for found in interface.get_all_operations():
        for mode in GenerationMode:
            cases = found.ok().as_strategy(generation_mode=mode)
            with contextlib.suppress(Unsatisfiable):  # an address without arguments: none is wrong
                EXAMPLES(given(cases)(answered))()
    assert {200, 404, 422} <= set(statuses)


# ------------------------------------------------------------------------- broken pictures


def test_broken_pictures_are_answered_and_the_next_good_one_is_painted(
    client: httpx.Client, photo: bytes, tools: dict[str, ModuleType]
) -> None:
    fuzz = tools["serving_fuzz"]
    chance, good = random.Random(1), fuzz.pictures()
    statuses: Counter[int] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what it reads in spite of an error
        for number in range(BROKEN):
            data = fuzz.broken(chance, good)
            if number % 3:
                reply = ask(client, data, size=32)
            else:
                reply = ask(client, photo, files={"style_picture": data}, style=[])
            assert reply.status_code in fuzz.ANSWERS, reply.text
            statuses[reply.status_code] += 1
            if reply.status_code != 200:
                assert list(reply.json()) == ["detail"]
            if number % 10 == 0:
                assert ask(client, photo).is_success
    assert statuses[200] > 0  # some can be read in spite of all
    assert statuses[415] > BROKEN / 2


def test_the_pictures_that_are_broken_were_good(
    client: httpx.Client, tools: dict[str, ModuleType]
) -> None:
    good = tools["serving_fuzz"].pictures()
    assert len(good) == 8
    for kind, data in good.items():
        assert ask(client, data).is_success, kind


def test_the_same_seed_breaks_alike(tools: dict[str, ModuleType]) -> None:
    fuzz = tools["serving_fuzz"]
    good = fuzz.pictures()
    once, again, other = (
        [fuzz.broken(chance, good) for _ in range(20)]
        for chance in (random.Random(1), random.Random(1), random.Random(2))
    )
    assert once == again != other
    assert not set(once) <= set(good.values())


def test_what_a_run_brought_can_be_written(tools: dict[str, ModuleType]) -> None:
    answers = tools["serving_fuzz"].Answers(statuses={200: 2, 415: 7}, memory_mb=[100.0])
    told = json.loads(json.dumps(dataclasses.asdict(answers)))
    assert told["statuses"] == {"200": 2, "415": 7}


def test_memory_that_the_same_pictures_need_once_more_is_told(
    tools: dict[str, ModuleType],
) -> None:
    fuzz, free = tools["serving_fuzz"], {"waiting": 0, "painting": 0}
    first = fuzz.Answers(memory_mb=[100, 300, 300, 600, 590])  # a large picture, late
    assert fuzz.problems(first, fuzz.Answers(memory_mb=[590, 600, 620]), free) == []
    leak = fuzz.problems(first, fuzz.Answers(memory_mb=[590, 600, 700]), free)
    assert leak == ["memory grew by 1.17"]
    kept = fuzz.problems(first, first, free | {"waiting": 1})
    assert kept == ["a request still has a place"]


# ------------------------------------------------------------------------------- the load's figures


def test_a_percentile_is_a_value_that_so_many_do_not_exceed(tools: dict[str, ModuleType]) -> None:
    percentile = tools["serving_load"].percentile
    values = list(range(1, 101))
    random.Random(0).shuffle(values)
    for share in (0.01, 0.5, 0.95, 0.99, 1.0):
        assert percentile(values, share) == round(100 * share)
    assert percentile([7], 0.99) == 7
    assert percentile([], 0.5) != percentile([], 0.5)  # NaN: there is none


def test_the_table_of_a_load_tells_what_it_came_to(tools: dict[str, ModuleType]) -> None:
    load = tools["serving_load"]
    replies = [load.Reply(200, n / 1000) for n in range(1, 101)]
    replies += [load.Reply(503, 0.004), load.Reply(load.DROPPED, 9.0), load.Reply(500, 9.0)]
    part = load.part_of(replies, clients=32, seconds=50.0)
    assert part.statuses == {0: 1, 200: 100, 500: 1, 503: 1}
    assert (part.p50, part.p95, part.p99, part.refused_p99) == (50, 95, 99, 4)
    assert part.a_second == 2
    assert load.failures(part) == 2
    lines = load.table([part]).splitlines()
    assert lines[1].split("  ")[-1] == "1 × dropped, 100 × 200, 1 × 500, 1 × 503"
    assert load.memory_table([100, 200, 190], [190, 210]).splitlines() == [
        "memory in MB: 100 200 190",
        "       again: 190 210; at most × 1.05",
    ]


def test_a_load_is_answered_and_counted(client: httpx.Client, tools: dict[str, ModuleType]) -> None:
    load = tools["serving_load"]
    replies, seconds, memory = load.load(
        client.base_url.port, 4, 20, 32, psutil.Process(), styles=("ash", "birch")
    )
    part = load.part_of(replies, 4, seconds)
    assert part.statuses == {200: 20}
    assert len(memory) == 11
    assert load.failures(part) == 0


def test_a_request_that_nobody_answers_is_a_failure(tools: dict[str, ModuleType]) -> None:
    load = tools["serving_load"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    part = load.part_of([load.ask(connection, b"", "text/plain")], 1, 1.0)
    assert part.statuses == {load.DROPPED: 1}
    assert load.failures(part) == 1


def test_a_body_is_what_the_server_reads(
    client: httpx.Client, photo: bytes, tools: dict[str, ModuleType]
) -> None:
    data, kind = tools["serving_load"].body(photo, style="ash")
    reply = client.post("/stylize", content=data, headers={"Content-Type": kind})
    assert reply.content == ask(client, photo).content
