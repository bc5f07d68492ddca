"""The calls of a plan on `openai` from 1.0 on: `python python_1.py PLAN RESULTS`. It runs in that SDK's own environment."""

from __future__ import annotations

import inspect
import json
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any

import openai


def plain(value: Any) -> Any:
    """As JSON has it, and as the server sent it."""
    return value.model_dump(mode="json", exclude_unset=True) if hasattr(value, "model_dump") else value


def method(client: openai.OpenAI, kind: str) -> Any:
    return {
        "chat": client.chat.completions.create,
        "complete": client.completions.create,
        "embed": client.embeddings.create,
        "models": client.models.list,
        "model": client.models.retrieve,
        "transcribe": client.audio.transcriptions.create,
        "translate": client.audio.translations.create,
    }[kind]


def made(client: openai.OpenAI, kind: str, arguments: dict[str, Any]) -> Any:
    """Parameters that are younger than the SDK go the way that it has for them."""
    function = method(client, kind)
    known = inspect.signature(function).parameters
    younger = {name: value for name, value in arguments.items() if name not in known}
    arguments = {name: value for name, value in arguments.items() if name in known}
    if younger:
        arguments["extra_body"] = younger
    if "file" in arguments:
        with Path(arguments.pop("file")).open("rb") as file:
            return plain(function(file=file, **arguments))
    answer = function(**arguments)
    return [plain(chunk) for chunk in answer] if arguments.get("stream") else plain(answer)


@cache
def client_for(url: str, key: str, organisation: str | None) -> openai.OpenAI:
    """It loads the system's certificates, which takes longer than most calls."""
    return openai.OpenAI(base_url=url, api_key=key, organization=organisation, max_retries=0)


def carried_out(call: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
    client = client_for(plan["url"], call.get("key", plan["key"]), call.get("organization"))
    try:
        return {"answer": made(client, call["call"], dict(call["arguments"]))}
    except openai.APIError as error:
        told = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
        return {"error": {"class": type(error).__name__, "status": getattr(error, "status_code", None), **told}}
    except Exception:  # noqa: BLE001 - where one call breaks the SDK, the others are made all the same
        return {"crash": traceback.format_exc()}


def main(plan_file: str, results_file: str) -> None:
    plan = json.loads(Path(plan_file).read_text("utf-8"))
    results = {call["name"]: carried_out(call, plan) for call in plan["calls"]}
    Path(results_file).write_text(json.dumps(results), "utf-8")


main(*sys.argv[1:])
