"""The calls of a plan on `openai` 0.x: `python python_0.py PLAN RESULTS`. It runs in that SDK's own environment."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

import openai

CALLS = {
    "chat": openai.ChatCompletion.create,
    "complete": openai.Completion.create,
    "embed": openai.Embedding.create,
    "models": openai.Model.list,
    "model": openai.Model.retrieve,
    "transcribe": openai.Audio.transcribe,
    "translate": openai.Audio.translate,
}


def plain(value: Any) -> Any:
    """As JSON has it."""
    return value.to_dict_recursive() if hasattr(value, "to_dict_recursive") else value


def made(kind: str, arguments: dict[str, Any]) -> Any:
    if kind in {"transcribe", "translate"}:
        with Path(arguments.pop("file")).open("rb") as file:
            return plain(CALLS[kind](arguments.pop("model"), file, **arguments))
    if kind == "model":
        return plain(CALLS[kind](arguments["model"]))
    answer = CALLS[kind](**arguments)
    return [plain(chunk) for chunk in answer] if arguments.get("stream") else plain(answer)


def carried_out(call: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
    openai.api_base, openai.api_key = plan["url"], call.get("key", plan["key"])
    openai.organization = call.get("organization")
    try:
        return {"answer": made(call["call"], dict(call["arguments"]))}
    except openai.error.OpenAIError as error:
        body = error.json_body["error"] if error.json_body else {}
        return {"error": {"class": type(error).__name__, "status": error.http_status, **body}}
    except Exception:  # noqa: BLE001 - where one call breaks the SDK, the others are made all the same
        return {"crash": traceback.format_exc()}


def main(plan_file: str, results_file: str) -> None:
    plan = json.loads(Path(plan_file).read_text("utf-8"))
    results = {call["name"]: carried_out(call, plan) for call in plan["calls"]}
    Path(results_file).write_text(json.dumps(results), "utf-8")


main(*sys.argv[1:])
