"""What goes wrong between the bot and the platform's HTTP, when a test says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tests.discord_fake.errors import Refused
from tests.discord_fake.rates import Excess

Kind = Literal["429", "cloudflare", "500", "502", "503", "drop", "lost", "hang", "garbage", "refuse"]
"""Of a request that repeats nothing (GET, PUT, DELETE) on a connection that was used before, aiohttp makes up for one `drop`
or `lost` by itself: there it takes `times=2` for a client to see anything.

429            refused with retry_after; `scope` is user, global or shared
cloudflare     429 by a proxy: a page without Via, as those get who have sent too many bad requests; `seconds`, or 600
500, 502, 503  a proxy answers with a page, and nothing is done
drop           the connection ends before anything is done
lost           it is done, and the connection ends without an answer
hang           it is done, and the answer comes `seconds` later
garbage        it is done, and the answer is no JSON
refuse         refused with `status`, `code` and `message`
"""
DONE = frozenset({"lost", "hang", "garbage"})
"""The request takes effect all the same."""
STATUS = {"500": "500 Internal Server Error", "502": "502 Bad Gateway", "503": "503 Service Unavailable"}
PAGE = "<html>\n<head><title>{0}</title></head>\n<body><center><h1>{0}</h1></center></body>\n</html>\n"
FILE = "cdn"
"""The name, among operations, of a file's download."""


@dataclass
class Fault:
    """Something that happens to the next requests of an operation."""

    operation: str
    kind: Kind
    times: int = 1
    channel: int | None = None
    retry_after: float = 0.1
    scope: str = "user"
    seconds: float = 0.0
    status: int = 400
    code: int = 0
    message: str = "400: Bad Request"
    happened: int = 0
    """How often it did."""

    def fits(self, operation: str, channel: int | None) -> bool:
        """Whether it is this request's turn."""
        if self.happened >= self.times or self.operation not in {operation, "*"}:
            return False
        return self.channel is None or self.channel == channel

    def refusal(self) -> Refused | None:
        """The answer, if it is one that the platform itself gives."""
        return Refused(self.status, self.code, self.message) if self.kind == "refuse" else None

    def excess(self) -> Excess:
        """The answer of 429."""
        return Excess(self.retry_after, self.scope)


@dataclass
class Faults:
    """Those that are still to come, the first that fits first."""

    planned: list[Fault] = field(default_factory=list)

    def take(self, operation: str, channel: int | None) -> Fault | None:
        """The fault of this request."""
        for fault in self.planned:
            if fault.fits(operation, channel):
                fault.happened += 1
                return fault
        return None
