"""What several nodes promise while nothing fails: one numbering, one order, cursors that hold everywhere."""

import asyncio
import itertools

from harness import case
from store import ALWAYS
from world import ALL

HISTORY = 10
SHORT = {"--history": str(HISTORY)}
# A user with the rights that are documented, on these keys and channels alone.
ACCESS = ("mine:", "roost", "secret", 3)
CHANNELS = [f"news:{number}" for number in range(12)]


@case("a publication at any node reaches the clients of every node once, in one order, with one numbering", keeping=ALWAYS)
async def everywhere(world):
    stayers = await world.crowd(CHANNELS)
    world.publish(CHANNELS)
    await world.published(500)
    await world.settle()
    world.demand_stayed(stayers)
    assert world.gaps == 0


@case("three nodes behind a balancer without sticky sessions: clients change transport and node by chance and miss nothing",
      keeping=ALWAYS, balancer=True)
async def behind_balancer(world):
    for _ in range(60):
        world.follow(*world.rng.sample(CHANNELS, 2), transports=ALL, places=lambda: [world.balancer.address], stay=(0.1, 1.0))
    await world.joined()
    world.publish(CHANNELS)
    await world.published(600)
    await world.settle()
    assert world.gaps == 0
    assert sum(one.connections for one in world.followers) > 3 * len(world.followers)
    for node in world.nodes:
        assert await node.figure("roost_accepts_total") > len(world.followers), f"{node.name} had hardly any client"


@case("a cursor holds on every node: WebSocket, events, poll, WebSocket, each at another one", keeping=ALWAYS)
async def cursors(world):
    nodes = itertools.cycle(world.publics())
    # Four transports, three nodes: each meets each.
    tour = zip(itertools.cycle([*ALL, ALL[0]]), nodes)
    one = world.follow("news", itinerary=tour, stay=(0.05, 0.3))
    await world.joined()
    world.publish(["news"])
    await world.until("it has been everywhere", lambda: one.connections > 16, 20)
    await world.settle()
    assert world.gaps == 0


@case("a client that comes back at a node that has never heard of the channel misses nothing", keeping=ALWAYS)
async def never_seen(world):
    first, other, third = world.publics()
    # Away from the first node while others publish at it; then at two that nobody has told of the channel.
    for transport in ALL:
        channel = f"far:{transport}"
        tour = itertools.chain([(transport, first)], itertools.cycle([(transport, other), (transport, third)]))
        one = world.follow(channel, itinerary=tour, stay=(0.05, 0.05))
        await world.joined()
        book = one.books[channel]
        await pause(world, one)
        await publish_at(world, 0, channel, 20)
        world.tasks.append(asyncio.create_task(one.run()))
        await world.until(f"it has the past over {transport}", lambda book=book: book.received == 20)
        assert book.gaps == 0
        book.demand_complete(book.cursor)


@case("a node that hears of a channel for the first time gives its whole past, as far as it is kept", keeping=ALWAYS)
async def past(world):
    cursors = await publish_at(world, 0, "old", 30)
    epoch = cursors[0].split("-")[0]
    answer = await world.ask_public(world.nodes[1], f"/poll?channel=old&since={epoch}-0&wait=0")
    assert [message["offset"] for message in answer["messages"]] == list(range(1, 31)), answer
    assert answer["cursors"] == {"old": cursors[-1]}
    # Another numbering: everything is announced as lost, and nothing replayed.
    answer = await world.ask_public(world.nodes[2], "/poll?channel=old&since=Foreign-7&wait=0")
    assert answer["messages"] == [{"type": "gap", "channel": "old", "from": 1, "to": 30, "cursor": cursors[-1]}], answer
    # Where nobody has published, all nodes tell one beginning.
    said = [await world.ask_public(node, "/poll?channel=empty&wait=0") for node in world.nodes]
    assert len({answer["cursors"]["empty"] for answer in said}) == 1, said


@case("who was away for longer than the history is told of the gap at every node, and gets the rest", keeping=ALWAYS, options=SHORT)
async def away_too_long(world):
    for number, transport in enumerate(ALL):
        channel = f"long:{transport}"
        one = world.follow(channel, itinerary=itertools.cycle([(transport, world.nodes[number].public)]))
        await world.joined()
        await pause(world, one)
        cursors = await publish_at(world, 0, channel, 300)
        one.itinerary = itertools.cycle([(transport, world.nodes[(number + 1) % 3].public)])
        world.tasks.append(asyncio.create_task(one.run()))
        book = one.books[channel]
        await world.until(f"it is at the head over {transport}", lambda book=book, head=cursors[-1]: book.cursor == head)
        book.demand_complete(cursors[-1])
        # Redis may keep some more than it has to; nobody may keep all of it.
        assert book.gaps == 1 and HISTORY <= book.received < 300, f"{book.gaps} gaps, {book.received} came"


@case("a prefix, a database and a user with the documented rights: nodes share what they should", keeping=ALWAYS, nodes=2, access=ACCESS)
async def access(world):
    one = world.follow("news", node=1)
    await world.joined()
    await world.redis.command("PUBLISH", "roost:{news}", "of somebody else")
    await publish_at(world, 0, "news", 20)
    await world.until("all have come", lambda: one.books["news"].received == 20)
    keys = await world.redis.command("KEYS", "*")
    assert keys == [], f"{keys} in database 0"
    assert int((await world.redis.info("db3")).split(",")[0].removeprefix("keys=")) > 0
    # Who may not do anything there has no broker, and says so; the password is not in its log.
    world.common = [word.replace("secret", "guess") for word in world.common]
    await world.kill_node(0)
    await world.start_node(0)
    await world.until("it has tried", lambda: "away" in world.nodes[0].log_tail())
    assert await world.nodes[0].status("/readyz") == 503
    assert "guess" not in world.nodes[0].log.read_text()


@case("one id at several nodes is one publication, one after the other and all at once", keeping=ALWAYS)
async def ids(world):
    one = world.follow("ids", node=2)
    await world.joined()
    for _ in range(20):
        draft = world.ledger.draft("ids")
        value = {"channel": "ids", "data": draft.data, "id": draft.id}
        answers = await asyncio.gather(*(node.ask("POST", "/publish", value) for node in world.nodes * 3))
        answers += [await node.ask("POST", "/publish", value) for node in world.nodes]
        assert {status for status, _ in answers} == {200}, answers
        cursors = {answer["cursor"] for _, answer in answers}
        assert len(cursors) == 1, cursors
        world.ledger.acknowledged(draft, cursors.pop())
    await world.until("all 20 have come", lambda: one.books["ids"].received == 20)
    one.books["ids"].demand_complete(one.books["ids"].cursor)
    # The same id in another channel is another one.
    assert (await world.nodes[0].ask("POST", "/publish", {"channel": "other", "data": 1, "id": "id-0"}))[1]["cursor"].endswith("-1")


async def pause(world, one):
    """The client that came last is away until somebody runs it again."""
    assert world.followers[-1] is one
    task = world.tasks.pop()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def publish_at(world, number, channel, count):
    """So many publications at one node, one after the other; their cursors."""
    cursors = []
    for _ in range(count):
        draft = world.ledger.draft(channel)
        status, answer = await world.nodes[number].ask("POST", "/publish", {"channel": channel, "data": draft.data, "id": draft.id})
        assert status == 200, answer
        world.ledger.acknowledged(draft, answer["cursor"])
        cursors.append(answer["cursor"])
    return cursors
