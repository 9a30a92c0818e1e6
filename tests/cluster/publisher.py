"""Publishers: each publication has an id and goes to a node by chance, and again to another until it is known what became of it.

Must never know a follower.
"""

import asyncio
import random

from asking import LOST
from ledger import Wrong

UNDER_WAY_MAX = 60
BACKOFF_SECONDS = (0.02, 0.4)
# Of those that were refused for sure, so many are not tried again: nobody may get them.
ABANDON = 0.3
# What says that nobody got it, and what leaves it open.
REFUSED, UNKNOWN = {"unavailable", "overloaded"}, {"outcome_unknown"}


class Publisher:
    """Publishes to `channels` at `nodes()`, so many a second or as many as are taken. `codes` counts what it was answered."""

    def __init__(self, ledger, seed, nodes, channels, rate):
        self.ledger, self.seed, self.nodes, self.channels, self.rate = ledger, seed, nodes, channels, rate
        self.codes = {}
        self.room = asyncio.Semaphore(UNDER_WAY_MAX)
        self.under_way = set()
        self.fault = None

    async def run(self):
        """Publishes until it is cancelled. What is under way then goes on."""
        rng = random.Random(f"{self.seed}/publisher")
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.room.acquire()
            task = asyncio.create_task(self.publish(rng.choice(self.channels)))
            self.under_way.add(task)
            task.add_done_callback(self.ended)
            # A publisher that was held up does not catch up with a burst.
            due = max(due + 1 / self.rate, loop.time() - 1)
            await asyncio.sleep(max(0, due - loop.time()))

    def ended(self, task):
        self.under_way.discard(task)
        self.room.release()
        if not task.cancelled() and task.exception() and not self.fault:
            self.fault = task.exception()

    async def publish(self, channel, abandons=None):
        """One publication, until its fate is known. Returns the cursor, or None if it is refused for good and abandoned, which is a
        matter of chance unless the caller says."""
        draft = self.ledger.draft(channel)
        rng = random.Random(f"{self.seed}/{draft.id}")
        abandons = rng.random() < ABANDON if abandons is None else abandons
        while True:
            said = await self.attempt(draft, rng.choice(self.nodes()))
            if draft.outcome:
                return said
            if said in UNKNOWN:
                draft.unsure = True
            elif abandons and not draft.unsure:
                return self.ledger.refused(draft)
            await asyncio.sleep(rng.uniform(*BACKOFF_SECONDS))

    async def attempt(self, draft, node):
        """Its cursor, or the word of a refusal."""
        value = {"channel": draft.channel, "data": draft.data, "id": draft.id}
        try:
            status, answer = await node.ask("POST", "/publish", value)
        except LOST as fault:
            # Refused by the kernel, nothing was sent; else nobody knows.
            self.count(f"connection: {type(fault).__name__}")
            return "unavailable" if isinstance(fault, ConnectionRefusedError) else "outcome_unknown"
        if status == 200:
            self.count("200")
            self.ledger.acknowledged(draft, answer["cursor"])
            return answer["cursor"]
        code = answer["error"]["code"]
        self.count(code)
        if status != 503 or code not in REFUSED | UNKNOWN:
            raise Wrong(f"a publication was answered {status} {answer}")
        return code

    def count(self, code):
        self.codes[code] = self.codes.get(code, 0) + 1
