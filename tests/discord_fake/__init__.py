"""A strict stand-in for Discord: REST, gateway and CDN on 127.0.0.1, a world of people behind them.

The client under test is any library, unpatched. People act through channels; what they do reaches the bot by the gateway,
as the platform would send it. What the bot does is seen in the channels. For example:

    async with serving() as server, running(server, MyClient(**options())):
        ada = server.world.user("Ada")
        channel = server.world.guild("Ferns", ada).text("general")
        question = channel.say(ada, "hello", mention=server.world.bot)
        server.fail("create_message", "429", retry_after=0.1)  # once: discord.py tries again
        await server.wait_for(lambda: channel.texts_of_bot() == ["Hello!"], "the answer")
        assert channel.from_bot[0].reply_to == question.id
        pressed = channel.press(ada, channel.from_bot[0], "Stop")
        await server.wait_for(lambda: pressed.answered, "the button's answer")

`client` has discord.py's side: `running` (a Client that is ready), `pointed_at` (only its addresses), `options` (no wait
before it is ready), `Listener` (keeps what it is told) and `refused` (an error that it must get). Another process takes
`server.api_base`, `server.gateway` and `server.cdn`, and is there when `server.ws.online` has its session: what people do
before, nobody hears.

Operations are named as in the specification: `create_message`, `update_message`, `execute_webhook`,
`create_interaction_response` and so on; "cdn" is a file's download. `server.calls`, `called` and `fail` use these names.
`server.ws` is the gateway, and has its faults: `close(code)`, `drop()`, `refuse()`, `outage()`, `accept()`, `forget()`,
`reconnect()`, `invalidate()`, `freeze()`, `repeat()`, `unparsable()`, `push(Raw(text))`. `server.rates.enable()` keeps
the limits of rate.

Rooms: `spec` holds each request and each answer against the specification. `scene`, `records`, `places`, `permissions`,
`state`, `threads`, `invocations`, `invoking`, `people`, `guilds` and `world` are the people's side. `content` and
`components` are the rules for messages, `redact` is what a bot doesn't read without the intent. `handshake`, `sessions`,
`wire` and `gateway` are the websocket; `routes` is what the bot can ask for, `cdn` the files. `rates` and `faults` make
trouble when they are told to. `platform` joins them; `server` speaks HTTP.

What breaks the specification, and any operation that is not implemented here, is refused and kept in
`server.violations`: `serving` fails at its end unless the test has taken it off with `expect_violation`. What a correct
client can come to (an unknown message, a missing permission) is refused and not kept. Time goes by with
`server.world.scene.pass_(seconds)`.
"""

from tests.discord_fake.faults import Fault
from tests.discord_fake.guilds import Guild
from tests.discord_fake.invocations import Interaction
from tests.discord_fake.people import Channel
from tests.discord_fake.permissions import Intent, Permission
from tests.discord_fake.places import Role
from tests.discord_fake.rates import Limit
from tests.discord_fake.records import Message
from tests.discord_fake.scene import User
from tests.discord_fake.server import DEADLINE, TOKEN, Call, DiscordServer, serving
from tests.discord_fake.world import World

__all__ = [
    "DEADLINE",
    "TOKEN",
    "Call",
    "Channel",
    "DiscordServer",
    "Fault",
    "Guild",
    "Intent",
    "Interaction",
    "Limit",
    "Message",
    "Permission",
    "Role",
    "User",
    "World",
    "serving",
]
