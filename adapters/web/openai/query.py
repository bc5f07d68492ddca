"""Parameters of the address: those that the document has of an operation, each once, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from adapters.web.openai.openapi import OPERATIONS
from bot.errors import BadRequest

_KNOWN: Mapping[tuple[str, str], Mapping[str, Any]] = {(one.method, one.path): one.query for one in OPERATIONS}


def check(request: web.Request, prefix: str) -> None:
    """Raises BadRequest for what the request's operation does not know, and for what comes twice.

    `prefix`: what stands before the document's paths. An object is written `name[key]=value`, once for each key.
    """
    resource = request.match_info.route.resource
    assert resource is not None, "every route here has an address"
    method = "get" if request.method == "HEAD" else request.method.lower()
    known = _KNOWN[method, resource.canonical.removeprefix(prefix)]
    for name in request.query:
        whole, bracket, rest = name.partition("[")
        is_object = known.get(whole, {}).get("type") == "object"
        if whole not in known or is_object != bool(bracket and rest.endswith("]")):
            raise BadRequest(f"Unrecognized request argument supplied: {name}", param=name)
        if len(request.query.getall(name)) > 1:
            raise BadRequest(f"Invalid '{name}': it was given twice.", param=name)


def parts(request: web.Request, name: str) -> dict[str, str]:
    """An object of the address, by its keys."""
    begin = f"{name}["
    return {key[len(begin) : -1]: value for key, value in request.query.items() if key.startswith(begin)}
