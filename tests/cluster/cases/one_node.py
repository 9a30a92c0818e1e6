"""The rig on one node without a broker: what every other case takes for granted."""

import asyncio
import itertools

from harness import case
from ledger import Wrong
from world import ALL


@case("one node: clients of all kinds, hopping or not, miss nothing", nodes=1)
async def hopping(world):
    channels = [f"news:{number}" for number in range(6)]
    stayers = await world.crowd(channels, count=30)
    world.publish(channels, rate=100)
    await world.published(250)
    await world.settle()
    world.demand_stayed(stayers)
    assert world.gaps == 0


@case("one node: a restart forgets, and everybody is told by a gap and goes on in the new numbering", nodes=1)
async def restart(world):
    channels = ["news:1", "news:2"]
    await world.crowd(channels, count=20)
    world.publish(channels, rate=100)
    await world.published(50)
    await world.kill_node(0)
    await world.start_node(0)
    await world.published(50)
    await world.settle()
    # Two channels, and everybody has lost one numbering of each.
    assert world.gaps >= 20 * 2, world.gaps


@case("one node: a client that hops from WebSocket to events to polls and back takes its cursors along", nodes=1)
async def cursors(world):
    one = world.follow("news", itinerary=((transport, world.nodes[0].public) for transport in itertools.cycle(ALL)), stay=(0.1, 0.3))
    await world.joined()
    world.publish(["news"], rate=200)
    await world.until("it has hopped three times around", lambda: one.connections >= 9)
    await world.settle()
    assert world.gaps == 0


@case("one node: a client that mislays, doubles or swaps a message on any transport is found out", nodes=1)
async def planted(world):
    world.publish(["news"], rate=100)
    for transport in ALL:
        for fault, words in ((mislay, "no gap before"), (double, "second time"), (swap, "no gap before")):
            one = world.follow("news", transports=(transport,))
            await world.joined()
            one.take = fault(one.take, one.books["news"])
            task = world.tasks.pop()
            done, _ = await asyncio.wait([task], timeout=5)
            assert done and isinstance(task.exception(), Wrong), f"{fault.__name__} over {transport} was not found"
            # A stream and a poll tell where they stand, which may be found out first.
            assert words in str(task.exception()) or "stands at" in str(task.exception()), task.exception()


def mislay(take, book):
    return lambda message: None if book.received == 5 and message["offset"] == book.spans[-1].end + 1 else take(message)


def double(take, book):
    def both(message):
        take(message)
        if book.received == 5:
            take(message)

    return both


def swap(take, book):
    held = []

    def late(message):
        held.append(message)
        if book.received < 5 or len(held) == 2:
            while held:
                take(held.pop())

    return late
