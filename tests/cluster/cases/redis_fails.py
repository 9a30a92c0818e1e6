"""Redis is killed, paused, cut off, slow, or comes back with old data, while everybody publishes and follows.

In all of them: nodes live and say how it is, clients stay connected, publishers are told the truth, and at the end everybody has everything
that was acknowledged, or was told by a gap with a new numbering that it is lost.
"""

import json

from asking import Line
from follower import read_frame
from harness import case
from store import ALWAYS, NEVER, SNAPSHOT
from wire import TEXT, frame, upgrade

CHANNELS = [f"news:{number}" for number in range(12)]
# What publishers may be told meanwhile.
TOLD = {"200", "unavailable", "outcome_unknown"}
# Longer than a node waits for an answer of Redis.
PAUSE_SECONDS = 10
OPEN = """\
[channels."open:"]
clients_may_publish = true
"""


async def under_load(world, seconds=1.0):
    """A crowd, and publications that go on until `settle`."""
    stayers = await world.crowd(CHANNELS)
    world.publish(CHANNELS)
    await world.published(int(200 * seconds))
    return stayers


async def all_is_well(world, stayers, more=200):
    """It has come back: publications go on, clients are where they were, everybody gets to the head."""
    await world.demand_back()
    await world.published(more)
    await world.settle()
    world.demand_stayed(stayers)
    assert set(world.publisher.codes) <= TOLD, world.publisher.codes


def demand_new_numberings(world):
    """Everybody was told by a gap that each of the channels begins anew, once or more often."""
    for one in world.followers:
        for book in one.books.values():
            assert len(book.spans) > 1, f"{book.who} goes on in {book.channel} as if nothing had happened"


@case("Redis is killed and comes back with its data: nobody loses anything, and nobody is told of a gap", seconds=40, keeping=ALWAYS)
async def killed_with_data(world):
    stayers = await under_load(world)
    world.redis.kill()
    await world.demand_away()
    await world.refused("unavailable", more=10)
    await world.redis.start()
    await all_is_well(world, stayers)
    assert world.gaps == 0


@case("Redis is killed three times in a row with its data: the same", seconds=40, keeping=ALWAYS)
async def killed_often(world):
    stayers = await under_load(world)
    for _ in range(3):
        world.redis.kill()
        await world.redis.start()
        await world.published(50)
    await all_is_well(world, stayers)
    assert world.gaps == 0


@case("Redis is killed and comes back without its data: everybody is told by a gap and goes on in the new numbering", seconds=40,
      keeping=NEVER)
async def killed_without_data(world):
    stayers = await under_load(world)
    world.redis.kill()
    await world.demand_away()
    await world.refused("unavailable", more=10)
    world.redis.forget()
    await world.redis.start()
    await all_is_well(world, stayers)
    demand_new_numberings(world)


@case("Redis comes back with an old snapshot: its numbers are not given a second time, everybody is told by a gap", seconds=40,
      keeping=SNAPSHOT)
async def old_snapshot(world):
    stayers = await under_load(world)
    await world.redis.command("SAVE")
    await world.published(200)
    world.redis.kill()
    await world.redis.start()
    await all_is_well(world, stayers)
    demand_new_numberings(world)


@case("somebody empties Redis while it runs: everybody is told by a gap and goes on in the new numbering", seconds=40, keeping=ALWAYS)
async def flushed(world):
    stayers = await under_load(world)
    await world.redis.command("FLUSHALL")
    await all_is_well(world, stayers)
    demand_new_numberings(world)


@case("Redis is paused for ten seconds: nobody loses anything, and nobody is told of a gap", seconds=60, keeping=ALWAYS)
async def paused(world):
    stayers = await under_load(world)
    world.redis.stop()
    try:
        await world.demand_away()
        await world.refused("unavailable")
        assert world.publisher.codes.get("outcome_unknown"), world.publisher.codes
        await world.pass_time(PAUSE_SECONDS / 2)
    finally:
        world.redis.go_on()
    await all_is_well(world, stayers)
    assert world.gaps == 0


@case("connections to Redis are cut, those that ask and those that hear: nobody loses anything", seconds=40, keeping=ALWAYS)
async def cut(world):
    stayers = await under_load(world)
    for kind in ("pubsub", "normal", "pubsub", "normal"):
        connects = [await node.figure("roost_broker_connects_total") for node in world.nodes]
        assert await world.redis.cut(kind) >= len(world.nodes), kind

        async def all_are_back(connects=connects):
            now = [await node.figure("roost_broker_connects_total") for node in world.nodes]
            return all(new > old for new, old in zip(now, connects, strict=True))

        await world.until(f"all nodes have connected again after {kind}", all_are_back)
        await world.published(50)
    await all_is_well(world, stayers)
    assert world.gaps == 0


@case("Redis is full: publications are refused for sure, everything else goes on, and they are taken again once there is room", keeping=ALWAYS)
async def full(world):
    stayers = await under_load(world)
    await world.redis.command("CONFIG", "SET", "maxmemory", "1kb")
    await world.refused("unavailable", more=50)
    await world.demand_alive()
    # Joins and lives on what is kept.
    late = world.follow(CHANNELS[0])
    await world.until("a newcomer has its subscription", late.joined.is_set)
    await world.redis.command("CONFIG", "SET", "maxmemory", "0")
    await all_is_well(world, stayers)
    assert set(world.publisher.codes) == {"200", "unavailable"}, world.publisher.codes
    assert world.gaps == 0


@case("Redis is slow: publications are slow, nothing is refused, and nobody loses anything", seconds=40, keeping=ALWAYS, slow=True)
async def slow(world):
    stayers = await under_load(world)
    for seconds in (0.05, 0.4, 0.0):
        world.slow.seconds = seconds
        await world.published(150)
    assert set(world.publisher.codes) == {"200"}, world.publisher.codes
    await world.demand_alive()
    await all_is_well(world, stayers)
    assert world.gaps == 0


@case("the network to Redis is cut between its words: nobody loses anything", seconds=40, keeping=ALWAYS, slow=True)
async def network(world):
    stayers = await under_load(world)
    for seconds in (0.0, 0.02, 0.1):
        world.slow.seconds = seconds
        await world.published(50)
        world.slow.cut()
    world.slow.seconds = 0.0
    await all_is_well(world, stayers)
    assert world.gaps == 0


@case("nodes start while Redis is away, say so, and serve once it is there", seconds=40, keeping=ALWAYS)
async def away_at_start(world):
    world.redis.kill()
    await world.kill_node(0)
    await world.start_node(0)
    assert await world.nodes[0].status("/readyz") == 503
    assert await world.nodes[0].status("/healthz") == 200
    status, answer = await world.nodes[0].ask("POST", "/publish", {"channel": "news:0", "data": 1})
    assert status == 503 and answer["error"]["code"] == "unavailable", answer
    await world.redis.start()
    await world.demand_back()
    await all_is_well(world, await under_load(world))


@case("while Redis is away, who asks for what the node cannot know is told so, and may ask again", keeping=ALWAYS, config=OPEN)
async def asked_while_away(world):
    world.redis.kill()
    await world.demand_away()
    node = world.nodes[0]
    async with Line(node.public) as line:
        line.send(upgrade(path="/live", host=node.public))
        assert (await line.head()).status == 101

        async def said(**message):
            line.send(frame(TEXT, json.dumps({**message, "id": message["type"]})))
            return json.loads((await read_frame(line))[1])

        for kind in ({"type": "publish", "data": 1}, {"type": "subscribe"}):
            answer = await said(channel="open:1", **kind)
            assert (answer["type"], answer["code"], answer["id"]) == ("error", "unavailable", kind["type"]), answer
        assert (await said(type="ping"))["type"] == "pong"
        await world.redis.start()
        await world.demand_back()
        # The same connection, and now it is served.
        answer = await said(type="subscribe", channel="open:1")
        assert answer["type"] == "subscribed", answer
        line.send(frame(TEXT, json.dumps({"type": "publish", "channel": "open:1", "data": 1})))
        kinds = {json.loads((await read_frame(line))[1])["type"] for _ in range(2)}
        assert kinds == {"published", "notification"}, kinds


@case("while Redis is away a poll is refused with 503, and so is each of many publications in one call", keeping=ALWAYS)
async def refused_while_away(world):
    world.redis.kill()
    await world.demand_away()
    node = world.nodes[0]
    async with Line(node.public) as line:
        response = await line.ask("GET", "/poll?channel=unheard&wait=1")
        assert response.status == 503 and json.loads(response.body)["error"]["code"] == "unavailable", response.body
        assert int(response.headers["retry-after"]) >= 1, response.headers
    async with Line(node.api) as line:
        body = b"".join(b'{"channel":"c","data":%d}\n' % number for number in range(3))
        response = await line.ask("POST", "/publish", ["Content-Type: application/x-ndjson"], body)
        answers = [json.loads(text) for text in response.body.splitlines()]
        assert [answer["error"]["code"] for answer in answers] == ["unavailable"] * 3, answers
    await world.redis.start()
    await world.demand_back()
    assert (await world.ask_public(node, "/poll?channel=c&wait=0"))["cursors"]["c"].endswith("-0"), "a refused publication is there"
