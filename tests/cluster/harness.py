"""What cases are made of: the list they enter, and how one is played from the start of its servers to their clean end.

A case is an async function that takes a World, or a plain one that takes nothing. It fails by raising.
"""

import asyncio
import inspect

from world import World

CASES = []


def case(sentence, seconds=30, **options):
    """Enters a function into the list; `options` are its World's."""

    def enter(function):
        CASES.append((sentence, function, seconds, options))
        return function

    return enter


def play(function, seconds, options, seed, minutes):
    """Runs one case; `minutes` is for those whose length is a choice."""
    if not inspect.iscoroutinefunction(function):
        function()
        return
    asyncio.run(_play(function, seconds + 60 * (minutes or 0), options, seed, minutes))


async def _play(function, seconds, options, seed, minutes):
    world = World(seed, minutes=minutes, **options)
    try:
        async with asyncio.timeout(seconds):
            await world.start()
            await function(world)
            await world.end()
    except BaseException as fault:
        for note in world.notes():
            fault.add_note(note)
        raise
    finally:
        await world.kill()
