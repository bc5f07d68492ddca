"""New addresses for files whose old ones have expired.

The specification leaves this operation out; bots use it, and it is described at
https://docs.discord.com/developers/reference#signed-attachment-cdn-urls as the way that clients go.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from tests.discord_fake.cdn import stored_at
from tests.discord_fake.errors import Json, invalid
from tests.discord_fake.platform import Handler, Platform, Request
from tests.discord_fake.spec import Operation

PATH = ("POST", "/attachments/refresh-urls")
_URLS = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 50}
REFRESH_URLS = Operation(
    id="refresh_attachment_urls",
    method=PATH[0],
    template=PATH[1],
    parameters=(),
    body={"type": "object", "properties": {"attachment_urls": _URLS}, "required": ["attachment_urls"]},
    responses={"200": {"type": "object"}},
    needs_token=True,
    pattern=re.compile(PATH[1]),
)


async def _refresh(platform: Platform, request: Request) -> Json:
    found: list[Json] = []
    for address in request.body["attachment_urls"]:
        stored = stored_at(platform.scene, urlsplit(address).path.removeprefix("/cdn/"))
        if stored is None:
            raise invalid("attachment_urls", "URL_TYPE_INVALID", f"{address} is no attachment.")
        found.append({"original": address, "refreshed": platform.scene.address(stored)})
    return {"refreshed_urls": found}


HANDLERS: dict[str, Handler] = {REFRESH_URLS.id: _refresh}
