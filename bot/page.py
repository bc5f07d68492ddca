"""What the web page is told of the rest of Hearth: its adapter sees ports, values and these functions."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapters.web.adapter import WebPage
from adapters.web.house import House
from adapters.web.openai.programs import Programs
from adapters.web.screens import PLATFORM
from bot.check import inspect
from bot.commands import MAX_SYSTEM_PROMPT
from bot.config import EMBEDDED_CHAT_MODEL, Config, ModelConfig, RemoteModelConfig
from bot.engines.registry import Registry
from bot.messages import Author, ConversationKey
from bot.permissions import is_admin, may_talk
from bot.ports import Removed, Store
from bot.recent import LastErrors
from bot.settings import MAX_DAYS
from bot.vitals import Vitals

NAME = "hearth"


def page(
    config: Callable[[], Config],
    store: Store,
    registry: Registry,
    vitals: Vitals,
    *,
    account: str,
    errors: LastErrors,
    removed: Removed,
    programs: Programs | None,
) -> WebPage:
    """The web page over the parts of a process. `programs`: what the API under it needs, if that is served."""

    async def check() -> list[dict[str, Any]]:
        # On a loop of its own: it reads the heads of model files, and asks this very process how it is.
        findings = await asyncio.to_thread(asyncio.run, inspect(config()))
        return [asdict(finding) for finding in findings]

    house = House(
        store=store,
        config=config,
        data_dir=config().data_dir,
        version=version("hearth"),
        program=program(sys.argv[0]),
        may_talk=lambda person: may_talk(config().permissions, *_as(person, account)),
        is_admin=lambda person: is_admin(config().permissions, *_as(person, account)),
        removed=removed,
        models=lambda: _models(registry, config()),
        health=lambda: _health(vitals),
        readiness=vitals.readiness,
        scrape=vitals.scrape,
        last_errors=errors.rows,
        check=check,
        max_system_prompt=MAX_SYSTEM_PROMPT,
        max_days=MAX_DAYS,
    )
    return WebPage(config().web, house, account=account, programs=programs)


def program(called: str) -> str:
    """What to write in a shell for the command that was `called`: its path, unless a shell finds it by its name."""
    path = Path(called)
    if path.name != NAME or shutil.which(NAME):
        return NAME
    return shlex.quote(called)


def _as(person: str, account: str) -> tuple[Author, ConversationKey]:
    return Author(person, person), ConversationKey(PLATFORM, account, person)


def _models(registry: Registry, config: Config) -> list[dict[str, Any]]:
    return [
        {
            "alias": model.alias,
            "description": model.description,
            "name": model.name,
            **_known_as(model.alias, config.models.get(model.alias)),
            "state": model.error or ("loaded" if model.loaded else "not loaded"),
            "running": model.running,
            "waiting": model.waiting,
        }
        for model in registry.describe()
    ]


def _known_as(alias: str, model: ModelConfig | RemoteModelConfig | None) -> dict[str, Any]:
    """What people call it, and what they should know of it before they write."""
    if isinstance(model, RemoteModelConfig):
        return {"label": model.remote_model or alias, "demo": False, "leaves_machine": model.leaves_machine}
    demo = model is not None and model.path == EMBEDDED_CHAT_MODEL
    label = "Hearth demo" if demo else alias if model is None else model.path.stem
    return {"label": label, "demo": demo, "leaves_machine": False}


def _health(vitals: Vitals) -> dict[str, Any]:
    health = vitals.health()
    adapters = []
    for name in health["adapters"]:
        platform, _, account = name.partition("/")
        state = "resting" if (platform, account) in vitals.resting else "listening"
        adapters.append({"name": platform, "account": account, "state": state})
    return {"adapters": adapters, "in_progress": health["in_progress"]}
