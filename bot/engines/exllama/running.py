"""A job in a library's generator: its results, which both libraries give in one form, -> what is told of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bot.engines.exllama.jobs import Event, Job
from bot.engines.exllama.shaping import Shaping, taken
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.writing import Writer
from bot.errors import EngineError, Told
from bot.generation import Finish, Prefill, Usage


class Running:
    """One job. Of the engine's thread alone."""

    def __init__(self, job: Job, handle: Any, shaping: Shaping, vocabulary: Vocabulary, page: int) -> None:
        self.job = job
        self.handle = handle
        """The library's own job."""
        self.shaping = shaping
        self.ended = False
        """It was told a Finish or an error."""
        self.still_generates = False
        """It has ended, but the generator does not know yet: a stop string came, or its grammar failed."""
        self._writer = Writer(vocabulary.showing(job.request.shows), job.request.stop)
        self._page = page
        self._ids = 0
        self._cached = 0
        self._began = time.monotonic()
        self._first: float | None = None

    def begin(self) -> None:
        """The generator has it: from now on its prompt is read, as soon as there are pages for it."""
        self._began = time.monotonic()

    def read(self, result: Mapping[str, Any]) -> list[Event | Told]:
        """What one result of a step tells."""
        match result["stage"]:
            case "started":
                return []
            case "prefill" if self._first is not None:
                return []  # exllamav3 queued it again, and others had taken its pages meanwhile: they are read anew
            case "prefill":
                total = len(self.job.request.prompt)
                return [Prefill(min(int(result["curr_progress"]), total - 1), total, self.cached_tokens)]
            case "error":
                self.ended = True
                return [EngineError(detail=f"the generator gave a job up: {result['error']!r}")]
            case _:
                return self._streamed(result)

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that were in the cache. The library tells only at the end, but keeps count."""
        return int(self.handle.cached_pages) * self._page + int(self.handle.cached_tokens)

    def _streamed(self, result: Mapping[str, Any]) -> list[Event | Told]:
        events: list[Event | Told] = []
        if self._first is None:
            self._first = time.monotonic()
            total = len(self.job.request.prompt)
            self._cached = self.cached_tokens
            events.append(Prefill(total, total, self._cached))
        if self.shaping.matcher is not None and self.shaping.matcher.failed:
            self.ended, self.still_generates = True, not result["eos"]
            return [*events, EngineError(detail=f"the grammar failed: {self.shaping.matcher.failed}")]
        ids = _ids(result)
        if result["eos"]:
            ids += _ids(result.get("held", {}))  # what was held back when the end came would be lost
        self._ids += len(ids)
        logprobs = taken(self.shaping.reported, len(ids))
        end = bool(ids) and result.get("eos_reason") == "stop_token"
        events.append(self._writer.feed(ids[:-1] if end else ids, logprobs))
        if self._writer.stopped or result["eos"]:
            self.ended, self.still_generates = True, not result["eos"]
            rest = self._writer.finish()
            length = result.get("eos_reason") == "max_new_tokens" and not self._writer.stopped
            events += [rest] if rest.text or rest.token_ids else []
            events.append(self._finish(length=length))
        return events

    def _finish(self, *, length: bool) -> Finish:
        now = time.monotonic()
        first = self._first if self._first is not None else now
        return Finish(
            reason="length" if length else "stop",
            usage=Usage(
                prompt_tokens=len(self.job.request.prompt),
                cached_tokens=self._cached,
                completion_tokens=self._ids,
            ),
            prefill_seconds=first - self._began,
            decode_seconds=now - first,
            drafted_tokens=int(self.handle.accepted_draft_tokens) + int(self.handle.rejected_draft_tokens),
            accepted_draft_tokens=int(self.handle.accepted_draft_tokens),
        )


def _ids(result: Mapping[str, Any]) -> list[int]:
    """The tokens of a result, a tensor of shape (1, n)."""
    ids = result.get("token_ids")
    return [] if ids is None else [int(id_) for id_ in ids[0].tolist()]
