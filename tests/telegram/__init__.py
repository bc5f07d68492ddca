"""A strict stand-in for the Telegram Bot API: real HTTP on 127.0.0.1, a world of people behind it.

The client under test is any library, unpatched. People act through chats; what they do reaches the bot by getUpdates or
by webhook, as the platform would send it. What the bot does is seen in the chats. For example:

    async with serving(privacy=False) as server:
        bot = Bot(server.token, base_url=server.base_url, base_file_url=server.base_file_url)
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        question = chat.say(ada, "hello")
        server.fail("sendMessage", "lost")  # it is sent, and no answer comes
        await run_the_bot(bot)
        await server.wait_for(lambda: chat.texts_of_bot() == ["Hello!"], "the answer")
        assert chat.from_bot[0].reply_to == question.id

`client.bot_on(server)` is such a Bot with its sockets closed at the end, `client.refused(words)` an error that it must
get.

Rooms: `spec` holds each call, each answer and each update against the documentation. `scene`, `records`, `chats`,
`people`, `membership`, `privacy`, `content` and `world` are the people's side. `markup` and `entities` are formatted
text. `updates` and `webhook` are the ways to the bot; `methods` is what the bot can do. `flood` and `faults` make
trouble when they are told to. `platform` joins them; `server` speaks HTTP.

What breaks the documentation, and any method that is not implemented here, is refused and kept in `server.violations`:
`serving` fails at its end unless the test has taken it off with `expect_violation`. Time goes by with
`server.world.scene.pass_(seconds)`.
"""

from tests.telegram.faults import Fault
from tests.telegram.flood import Limits
from tests.telegram.people import Chat
from tests.telegram.records import Draft, Message, Topic
from tests.telegram.scene import Query, User
from tests.telegram.server import DEADLINE, TOKEN, Call, TelegramServer, serving
from tests.telegram.world import World

__all__ = [
    "DEADLINE",
    "TOKEN",
    "Call",
    "Chat",
    "Draft",
    "Fault",
    "Limits",
    "Message",
    "Query",
    "TelegramServer",
    "Topic",
    "User",
    "World",
    "serving",
]
