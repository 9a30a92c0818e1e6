"""A node dies: its clients come back elsewhere, and what the others say of it is right within seconds."""

import asyncio

from harness import case
from store import ALWAYS
from world import ALL

CHANNELS = [f"news:{number}" for number in range(12)]


@case("one of three nodes is killed under load: its clients come back elsewhere and miss nothing", seconds=40, keeping=ALWAYS, balancer=True)
async def killed(world):
    stayers = await world.crowd(CHANNELS, count=30)
    # Through the balancer, and by a list of addresses: until its end, each stays where it is.
    crowd = [world.follow(*world.rng.sample(CHANNELS, 2), transports=ALL, places=lambda: [world.balancer.address]) for _ in range(15)]
    crowd += [world.follow(*world.rng.sample(CHANNELS, 2), transports=ALL) for _ in range(15)]
    await world.joined()
    world.publish(CHANNELS)
    await world.published(200)
    dead = world.nodes[1].public
    await world.kill_node(1)
    # Those that know one address have to wait for it; the others are not to.
    bound = [one for one in stayers if dead in one.using]
    free = [one for one in world.followers if one not in bound]
    assert bound and free
    await world.until("its clients are elsewhere", lambda: not any(dead in one.using for one in free))
    await world.published(200)
    for node in world.living():
        assert await node.status("/readyz") == 200
    await world.start_node(1)
    await world.published(100)
    await world.settle()
    world.demand_stayed([one for one in stayers if one not in bound])
    assert world.gaps == 0


@case("a node that is drained sends its clients elsewhere, and they miss nothing", seconds=40, keeping=ALWAYS)
async def drained(world):
    for _ in range(30):
        world.follow(*world.rng.sample(CHANNELS, 2), transports=ALL)
    await world.joined()
    world.publish(CHANNELS)
    await world.published(100)
    node = world.nodes[2]
    node.pool.close()
    await asyncio.to_thread(node.end)
    await world.until("its clients are elsewhere", lambda: not any(node.public in one.using for one in world.followers))
    await world.published(100)
    await world.start_node(2)
    await world.settle()
    assert world.gaps == 0
