"""The OpenAPI document is what the handlers do, and the page of parameters is what the document says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from adapters.web.openai import reference
from adapters.web.openai.openapi import OPERATIONS, Operation, document
from adapters.web.openai.parameters.base import Body, refused_in
from tests.web import site

PAGE = Path(__file__).parents[2] / "docs" / "api-parameters.md"
JSON = [one for one in OPERATIONS if one.body is not None and not one.form]


@pytest.mark.parametrize("hears", [True, False])
async def test_every_route_is_in_the_document_and_the_other_way_round(tmp_path: Path, *, hears: bool) -> None:
    async with site(tmp_path, speech={"enabled": hears}) as home, home.browser() as browser:
        document = (await browser.get("/v1/openapi.json")).json
        told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
        assert home.page.api is not None
        assert told == {(method, path) for method, path in home.page.api.routes if method != "HEAD"}
        assert ("/audio/transcriptions" in document["paths"]) is hears


def test_the_document_is_one() -> None:
    found = document("1.0")
    for name, schema in found["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        for place in references(schema):
            assert place.removeprefix("#/components/schemas/") in found["components"]["schemas"], (name, place)


def references(value: Any) -> list[str]:
    """All `$ref` in a schema."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [place for inner in value.values() for place in references(inner)]
    return [place for inner in value for place in references(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize("operation", JSON, ids=lambda one: f"{one.method} {one.path}")
async def test_a_handler_reads_the_body_that_the_document_tells(operation: Operation, tmp_path: Path) -> None:
    body = operation.body
    assert body is not None
    assert issubclass(body, Body)
    async with site(tmp_path) as home, home.browser() as browser:
        path = "/v1" + operation.path.replace("{completion_id}", "chatcmpl-1")
        unknown = await browser.send(operation.method, path, json={"nonsense": 1})
        assert unknown.status == 400
        needed = {name for name, field in body.model_fields.items() if field.is_required()}
        assert unknown.json["error"]["param"] in needed | {"nonsense"}
        for name in refused_in(body):
            assert name in {row.split("`")[1] for row in PAGE.read_text().splitlines() if "| refused |" in row}


def test_the_page_of_parameters_is_made_from_the_code() -> None:
    assert PAGE.read_text() == reference.page(), "python -m adapters.web.openai.reference > docs/api-parameters.md"
