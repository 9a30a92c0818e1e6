"""Everything that may happen to a cluster, in an order that chance chooses, while everybody publishes and follows."""

import asyncio
import signal

from harness import case
from store import ALWAYS
from world import ALL

CHANNELS = [f"news:{number}" for number in range(12)]
SECONDS = 40
# Sometimes longer than a node waits for an answer of Redis.
PAUSES = (0.3, 1.0, 3.0, 7.0)
HANGS = (0.3, 1.0, 3.0)
DELAYS = (0.01, 0.1, 0.3)
CALM_SECONDS = (0.3, 1.5)


async def redis_dies(world):
    world.redis.kill()
    await world.pass_time(world.rng.choice((0.0, 0.5, 2.0)))
    await world.redis.start()


async def redis_forgets(world):
    world.redis.kill()
    world.redis.forget()
    await world.redis.start()


async def redis_is_emptied(world):
    await world.redis.command("FLUSHALL")


async def redis_pauses(world):
    world.redis.stop()
    await world.pass_time(world.rng.choice(PAUSES))
    world.redis.go_on()


async def hearing_is_cut(world):
    await world.redis.cut("pubsub")


async def asking_is_cut(world):
    await world.redis.cut("normal")


async def network_is_cut(world):
    world.slow.cut()


async def network_is_slow(world):
    world.slow.seconds = world.rng.choice(DELAYS)
    await world.pass_time(1.0)
    world.slow.seconds = 0.0


async def node_dies(world):
    number = world.rng.randrange(len(world.nodes))
    await world.kill_node(number)
    await world.pass_time(world.rng.choice((0.0, 1.0)))
    await world.start_node(number)


async def node_hangs(world):
    node = world.rng.choice(world.nodes)
    node.signal(signal.SIGSTOP)
    await world.pass_time(world.rng.choice(HANGS))
    node.signal(signal.SIGCONT)


async def node_is_drained(world):
    number = world.rng.randrange(len(world.nodes))
    world.nodes[number].pool.close()
    await asyncio.to_thread(world.nodes[number].end)
    await world.start_node(number)


KEEPS = (redis_dies, redis_pauses, hearing_is_cut, asking_is_cut, network_is_cut, network_is_slow, node_dies, node_hangs, node_is_drained)
LOSES = (redis_forgets, redis_is_emptied)


async def go_through(world, events, seconds):
    """Lets these happen in turns by chance for so long, each as often as any other, and then demands that all is well."""
    for _ in range(40):
        world.follow(*world.rng.sample(CHANNELS, 2), transports=ALL, stay=(0.2, 4.0))
    for _ in range(20):
        world.follow(*world.rng.sample(CHANNELS, 2), transports=ALL, places=lambda: [world.balancer.address])
    await world.joined()
    world.publish(CHANNELS)
    end = asyncio.get_running_loop().time() + seconds
    happened, left = [], []
    try:
        while asyncio.get_running_loop().time() < end:
            if not left:
                left = world.rng.sample(events, len(events))
            happened.append(left.pop())
            await happened[-1](world)
            await world.pass_time(world.rng.uniform(*CALM_SECONDS))
        await world.demand_back()
        await world.published(200)
        await world.settle()
        print(f"    {len(happened)} events: " + ", ".join(f"{happened.count(one)} × {one.__name__}" for one in events), flush=True)
    except BaseException as fault:
        fault.add_note("it happened: " + ", ".join(one.__name__ for one in happened))
        raise


@case("chaos that loses nothing: Redis keeps its data, and nobody is told of a gap", seconds=120, keeping=ALWAYS, slow=True, balancer=True)
async def keeps(world):
    await go_through(world, KEEPS, (world.minutes or SECONDS / 60) * 30)
    assert world.gaps == 0


@case("chaos with losses: Redis forgets now and then, and every loss is announced", seconds=120, keeping=ALWAYS, slow=True, balancer=True)
async def loses(world):
    await go_through(world, (*KEEPS, *LOSES), (world.minutes or SECONDS / 60) * 30)
    assert world.gaps > 0
