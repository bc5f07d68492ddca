"""What goes wrong between the bot and the platform, when a test says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tests.telegram.errors import Json, Refused
from tests.telegram.flood import too_many

Kind = Literal["429", "500", "502", "drop", "lost", "hang", "garbage", "refuse"]
"""429        refused with retry_after
500, 502   a proxy answers with a page, and nothing is done
drop       the connection ends before anything is done
lost       it is done, and the connection ends without an answer
hang       it is done, and the answer comes `seconds` later
garbage    it is done, and the answer is no JSON
refuse     refused with `code` and `description`
"""
DONE = frozenset({"lost", "hang", "garbage"})
"""The call takes effect all the same."""
PAGE = "<html>\n<head><title>{0}</title></head>\n<body><center><h1>{0}</h1></center></body>\n</html>\n"
FILE = "file"
"""The name, among methods, of a file's download."""


@dataclass
class Fault:
    """Something that happens to the next calls of a method."""

    method: str
    kind: Kind
    times: int = 1
    chat: int | None = None
    retry_after: int = 1
    seconds: float = 0.0
    code: int = 400
    description: str = "Bad Request"
    happened: int = 0
    """How often it did."""

    def fits(self, method: str, given: Json) -> bool:
        """Whether it is this call's turn."""
        if self.happened >= self.times or self.method not in {method, "*"}:
            return False
        return self.chat is None or str(given.get("chat_id")) == str(self.chat)

    def refusal(self) -> Refused | None:
        """The answer, if it is one that the platform itself gives."""
        if self.kind == "429":
            return too_many(self.retry_after)
        return Refused(self.code, self.description) if self.kind == "refuse" else None


@dataclass
class Faults:
    """Those that are still to come, the first that fits first."""

    planned: list[Fault] = field(default_factory=list)

    def take(self, method: str, given: Json) -> Fault | None:
        """The fault of this call."""
        for fault in self.planned:
            if fault.fits(method, given):
                fault.happened += 1
                return fault
        return None
