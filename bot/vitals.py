"""How a running process is: what /healthz, /readyz and /metrics say. Numbers and names, nobody's words."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from bot.dispatcher import Dispatcher
from bot.engines.registry import ModelState, Registry
from bot.errors import DatabaseError
from bot.metrics import Metrics, ModelNow, Now
from bot.ports import Adapter, Store


class Vitals:
    """Looks at the parts of a process, and changes nothing."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        dispatcher: Dispatcher,
        adapters: Mapping[tuple[str, str], Adapter],
        metrics: Metrics,
    ) -> None:
        self.resting: set[tuple[str, str]] = set()
        """Adapters that died and are not started again yet, by platform and bot account."""
        self._store = store
        self._registry = registry
        self._dispatcher = dispatcher
        self._adapters = adapters
        self._metrics = metrics
        self._started = time.monotonic()

    def health(self) -> dict[str, Any]:
        """Whether the process works, with what it runs. `status` is "ok", or says what does not."""
        resting = ", ".join(sorted(platform for platform, _ in self.resting))
        return {
            "status": f"resting: {resting}" if resting else "ok",
            "version": version("hearth"),
            "pid": os.getpid(),
            "seconds": round(time.monotonic() - self._started, 1),
            "in_progress": self._dispatcher.in_progress,
            "models": [{"alias": m.alias, "loaded": m.loaded, "error": m.error} for m in self._registry.describe()],
            "adapters": [f"{platform}/{account}" for platform, account in self._adapters],
        }

    async def readiness(self) -> dict[str, Any]:
        """Whether a question that comes now is answered: `ready`, and each thing that it needs."""
        try:
            waiting: int | None = await self._store.pending()
        except DatabaseError:
            waiting = None
        needs = {
            "database": waiting is not None,
            "model": _answers(self._registry.describe()),
            "adapters": not self.resting,
            "accepting": not self._dispatcher.draining,
        }
        return {"ready": all(needs.values()), **needs, "waiting": waiting}

    async def scrape(self) -> bytes:
        """Everything that is counted and measured, as `bot.metrics.CONTENT_TYPE` says."""
        readiness = await self.readiness()
        now = Now(
            version=version("hearth"),
            ready=readiness["ready"],
            open_questions=readiness["waiting"],
            in_progress=self._dispatcher.in_progress,
            models=[_now(model) for model in (*self._registry.describe(), *self._registry.describe_embedding())],
            adapters={key: key not in self.resting for key in self._adapters},
        )
        return self._metrics.render(now)


def _now(model: ModelState) -> ModelNow:
    if model.counted_as != model.alias:
        return ModelNow(model.alias, model.loaded, running=None, waiting=None)
    health = model.servers
    servers = {} if health is None else {"well": health.well, "failing": health.failing}
    return ModelNow(model.alias, model.loaded, model.running, model.waiting, servers)


def _answers(models: Sequence[ModelState]) -> bool:
    """Whether the default model is there, and one of its servers can be asked if it is on servers; or has made room for
    another and will be loaded again when it is asked.
    """
    default = next(model for model in models if model.alias == "default")
    if default.loaded:
        return default.would_answer
    return not default.error and any(model.loaded for model in models)
