"""Whatever a program sends, by the API's own document and by OpenAI's of 2023: never a failure of the server's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import booleans
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.result import Err
from schemathesis.schemas import APIOperation, BaseSchema

from bot.testing import ScriptedEngine
from tests.recordings import recording
from tests.web import Site, site

SPEC = Path(__file__).parents[1] / "specs" / "openai-2023-11-28.yaml"
SEED = 20231128
EXAMPLES = {"application/json": 60, "multipart/form-data": 8}
"""Of each mode, for an operation with such a body: each upload costs a process that decodes it."""
EXAMPLES_WITHOUT_BODY = 10
MODELS = {
    "/chat/completions": "default",
    "/completions": "default",
    "/embeddings": "text-embedding-ada-002",
    "/audio/transcriptions": "whisper-1",
    "/audio/translations": "whisper-1",
}
ANSWERS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
"""What must hold by a document that states every answer."""


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    """A model that answers with a word, whatever it is asked: what is looked at is the way there."""
    async with site(tmp_path, engine=ScriptedEngine(lambda _: "Yes.")) as made:
        yield made


Operation = APIOperation[Any, Any, Any, Any]
Case = schemathesis.Case[Any]


def operations(schema: BaseSchema) -> list[Operation]:
    """Raises InvalidSchema for one that cannot be read."""
    found = []
    for result in schema.get_all_operations():
        if isinstance(result, Err):
            raise result.err()
        found.append(result.ok())
    return found


def closed(node: Any) -> Any:
    """A document whose objects have no other keys: with those, which are refused, most requests would go no further."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: closed(value) for key, value in node.items()}
    if isinstance(found.get("properties"), dict) and found.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


def mended(body: Any, path: str, *, whole: bool) -> None:
    """A model that there is; and what the documents say in words alone, if the request is to be served as a whole."""
    if not isinstance(body, dict):
        return
    body["model"] = MODELS[path]
    if not whole:
        return
    if "file" in body:
        body["file"] = recording("ogg", 0.5)
    if "messages" in body:
        body["messages"] = [{"role": "user", "content": "hello"}]
    for function in [*(tool["function"] for tool in body.get("tools") or ()), *(body.get("functions") or ())]:
        function["name"] = "weather"


def fuzz(operation: Operation, mode: GenerationMode, url: str, checks: tuple[Any, ...]) -> int:
    """Send what fits an operation, or what does not; returns how often."""
    kinds = [alternative.media_type for alternative in operation.body]
    sent = 0

    @seed(SEED)
    @settings(
        max_examples=max((EXAMPLES[kind] for kind in kinds), default=EXAMPLES_WITHOUT_BODY),
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), whole=booleans())
    def one(case: Case, *, whole: bool) -> None:
        nonlocal sent
        sent += 1
        if mode is GenerationMode.POSITIVE and operation.path in MODELS:
            mended(case.body, operation.path, whole=whole)
        case.call_and_validate(base_url=url, session=session, checks=list(checks))

    with requests.Session() as session:
        one()
    return sent


async def fuzzed(schema: BaseSchema, url: str, checks: tuple[Any, ...]) -> dict[str, list[int]]:
    """All operations, one after the other; how often each was called in each mode."""
    found = {}
    for operation in operations(schema):
        each = [await asyncio.to_thread(fuzz, operation, mode, url, checks) for mode in GenerationMode]
        found[operation.label] = each
    return found


async def test_nothing_that_openai_s_document_of_2023_allows_makes_the_server_fail(home: Site) -> None:
    """It states no answer but 200, so that which status comes is not looked at."""
    schema = schemathesis.openapi.from_dict(closed(yaml.safe_load(SPEC.read_text("utf-8"))))
    sent = await fuzzed(schema, f"{home.origin}/v1", (not_a_server_error,))
    assert all(min(times) > 0 for times in sent.values()), sent
    assert home.engine.requests


async def test_every_answer_is_one_that_the_api_s_own_document_states(home: Site) -> None:
    async with home.browser() as program:
        document = (await program.get("/v1/openapi.json")).json
    sent = await fuzzed(schemathesis.openapi.from_dict(document), f"{home.origin}/v1", ANSWERS)
    assert all(min(times) > 0 for times in sent.values()), sent
    assert home.engine.requests
