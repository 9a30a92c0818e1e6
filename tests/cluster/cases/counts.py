"""What any node says of all: who follows a channel, who is there, and whom an operator wants to be gone."""

import base64
import hashlib
import hmac
import json

from harness import case
from store import ALWAYS
from world import ALL

SECRET = "a secret of thirty-two bytes or so"
CONFIG = f"""\
token_key = ["hs256:{SECRET}"]
[channels."room:"]
presence = true
"""
# Until what a node said before it died counts no more.
SECONDS = 5


def token(user):
    """A JSON Web Token for this user, signed by hand."""
    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"sub": user, "exp": 4_000_000_000, "subscribe": ["*"]}
    signed = encode(b'{"alg":"HS256","typ":"JWT"}') + b"." + encode(json.dumps(claims).encode())
    return (signed + b"." + encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest())).decode()


async def everywhere(world, path, right, seconds=SECONDS):
    """Waits until what every living node answers is right."""
    said = []

    async def look():
        said[:] = [await node.ask("GET", path) for node in world.living()]
        return all(status == 200 and right(answer) for status, answer in said)

    await world.until(f"every node is right about {path}", look, seconds, lambda: f"{said}")


async def counted(world, channel, count, seconds=SECONDS):
    """Waits until every node says that so many follow the channel, asked for it and in its list."""
    await everywhere(world, f"/channels/{channel}", lambda answer: answer["subscribers"] == count, seconds)
    await everywhere(world, f"/channels?prefix={channel}", lambda answer: [one["subscribers"] for one in answer["channels"]] == [count])


async def present(world, channel, count, users):
    """Waits until every node says that so many are there, and who."""
    await everywhere(world, f"/presence/{channel}", lambda answer: answer["count"] == count and sorted(answer["users"]) == sorted(users))


@case("every node counts the followers of all, and those of a killed node no more after five seconds", keeping=ALWAYS)
async def counts(world):
    for number in range(9):
        world.follow("news", transports=(ALL[:2][number % 2],), node=number % 3)
    await world.joined()
    await counted(world, "news", 9)
    await world.kill_node(2)
    await counted(world, "news", 6)
    await world.start_node(2)
    # Its clients have to come back first.
    await counted(world, "news", 9, 2 * SECONDS)


@case("a channel that somebody follows at one node has its cursor and its followers at every node", keeping=ALWAYS)
async def cursors(world):
    world.follow("news", node=0)
    await world.joined()
    for number in range(4):
        draft = world.ledger.draft("news")
        status, answer = await world.nodes[number % 3].ask("POST", "/publish", {"channel": "news", "data": draft.data})
        assert status == 200, answer
    head = answer["cursor"]
    await everywhere(world, "/channels/news", lambda answer: (answer["subscribers"], answer["cursor"]) == (1, head))


@case("presence names the users of all nodes, and those of a killed node no more after five seconds", keeping=ALWAYS, config=CONFIG)
async def presence(world):
    here = {"ann": 0, "ben": 1, "cyd": 2}
    for user, node in here.items():
        world.follow("room:1", node=node, token=token(user))
    # A second connection of one user at another node is not another user.
    world.follow("room:1", node=2, token=token("ann"))
    await world.joined()
    await present(world, "room:1", 4, here)
    await world.kill_node(2)
    await present(world, "room:1", 2, ["ann", "ben"])


async def eve_and_others(world):
    """Three clients of one user, one at each node, and others beside them."""
    meant = [world.follow("room:1", node=node, token=token("eve")) for node in range(3)]
    others = [world.follow("room:1", transports=(transport,), node=node, token=token("ann")) for node in range(3) for transport in ALL]
    await world.joined()
    return meant, others


async def demand_gone(world, meant, others):
    await world.until("eve is gone everywhere", lambda: all(one.losses for one in meant), SECONDS, lambda: f"{meant}")
    for one in meant:
        assert "4006" in one.losses[0], one
    assert not any(one.losses for one in others), others


@case("a user who is disconnected at one node is disconnected at every node, and nobody else is", keeping=ALWAYS, config=CONFIG)
async def disconnect(world):
    meant, others = await eve_and_others(world)
    # Polls come and go; what is counted here is that nodes know each other.
    await present(world, "room:1", len(meant) + len(others), ["ann", "eve"])
    status, answer = await world.nodes[0].ask("POST", "/disconnect", {"user": "eve"})
    assert (status, answer) == (200, {"disconnected": 3}), answer
    await demand_gone(world, meant, others)


@case("a user is disconnected at every node also where the node that is asked has hardly heard of the others", keeping=ALWAYS, config=CONFIG)
async def disconnect_at_once(world):
    # The first node was there before the others, and they have only just become ready.
    meant, others = await eve_and_others(world)
    status, answer = await world.nodes[0].ask("POST", "/disconnect", {"user": "eve"})
    assert status == 200, answer
    await demand_gone(world, meant, others)


@case("while Redis is away a user is disconnected where the node that is asked is, and it says that others do not know", keeping=ALWAYS,
      config=CONFIG)  # fmt: skip
async def disconnect_alone(world):
    meant, _ = await eve_and_others(world)
    world.redis.kill()
    await world.demand_away()
    status, answer = await world.nodes[0].ask("POST", "/disconnect", {"user": "eve"})
    assert (status, answer["error"]["code"]) == (503, "unavailable"), answer
    assert "1 connections of this one end" in answer["error"]["message"], answer
    await world.until("eve is gone there", lambda: meant[0].losses)
    assert not meant[1].losses and not meant[2].losses, meant
    await world.redis.start()
    await world.demand_back()
    # By then she has come back to the first node as well.
    await world.joined()
    status, answer = await world.nodes[0].ask("POST", "/disconnect", {"user": "eve"})
    assert status == 200, answer
    await world.until("eve is gone everywhere", lambda: all(one.losses for one in meant))
