"""Files that people sent."""

from __future__ import annotations

from tests.telegram.errors import Json, bad_request
from tests.telegram.platform import Handler, Platform


async def get_file(platform: Platform, given: Json) -> Json:
    """Where the file can be downloaded, unless it is too big for that."""
    stored = platform.scene.file(given["file_id"])
    if stored.size > platform.download_limit:
        raise bad_request("file is too big")
    return stored.json | {"file_path": stored.path}


HANDLERS: dict[str, Handler] = {"getFile": get_file}
