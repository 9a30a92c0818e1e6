"""Nodes that share one Redis, what stands between and before them, and everybody who talks to them.

Must never know a case.
"""

import asyncio
import inspect
import itertools
import pathlib
import random
import re
import tempfile

from asking import LOST, Pool
from balancer import Balancer
from follower import EVENTS, POLL, WEBSOCKET, Follower
from ledger import ACKNOWLEDGED, REFUSED, Ledger
from node import ROOT, Node
from publisher import Publisher
from slow import Slow
from store import Redis

LOOK_SECONDS = 0.03
RESTART_SECONDS = 5
SETTLE_SECONDS = 25
# Long enough for whoever was away: what is lost here is lost by a fault.
OPTIONS = {"--history": "20000", "--history-ttl": "10m", "--history-bytes": "256MiB", "--drain-over": "1s"}
NOTED_CLIENTS_MAX = 10
# A crowd: how many of sixty stay where they are, by transport, and how many hop about.
CROWD = {WEBSOCKET: 24, EVENTS: 9, POLL: 9}
ALL = (WEBSOCKET, EVENTS, POLL)


class Peer(Node):
    """A node of the cluster, and connections to its API."""

    def __init__(self, name, *options, environment=None):
        super().__init__("--node", name, *options, environment=environment)
        self.name = name
        self.pool = Pool(self.api)

    async def ask(self, method, path, value=None, seconds=30):
        """Status and value of an answer of the API."""
        return await self.pool.ask(method, path, value, seconds)

    async def status(self, path):
        return (await self.ask("GET", path))[0]

    async def figure(self, name):
        """The sum of a metric's samples, without regard to their labels."""
        status, text = await self.ask("GET", "/metrics")
        assert status == 200, text
        samples = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        assert samples, f"{self.name} has no metric {name}"
        return sum(map(float, samples))

    def is_alive(self):
        return self.process.poll() is None


def documented_rights():
    """The words for a user of Redis that src/cluster/README.md says suffice."""
    text = (ROOT / "src" / "cluster" / "README.md").read_text()
    about = text.split("An ACL user needs", 1)[1].split("\n\n", 1)[0]
    return [word for words in re.findall(r"`([^`]*)`", about) for word in words.split() if word[0] in "+~&"]


class World:
    """`nodes` nodes with a Redis that keeps its data as `keeping` says, or without one where that is None.

    `way` starts servers of its own and returns the address of the broker, if there is another way to one. `slow` puts a Slow between nodes and Redis, `balancer` an HAProxy before the nodes. `access` is a prefix of keys, a user who may use
    no others, a password, and a database.
    """

    def __init__(self, seed, nodes=3, keeping=None, slow=False, balancer=False, options=None, config="", minutes=None, access=None, way=None):
        self.access, self.way = access, way
        # Where `way` leads, and what nodes find in their environment.
        self.servers, self.environment = [], {}
        self.seed, self.count, self.keeping, self.options, self.minutes = seed, nodes, keeping, options or {}, minutes
        self.with_slow, self.with_balancer, self.config = slow, balancer, config
        self.folder = tempfile.TemporaryDirectory(prefix="roost-cluster-")
        self.rng = random.Random(f"{seed}/world")
        self.ledger = Ledger()
        self.redis = self.slow = self.balancer = self.publisher = self.publishing = None
        self.nodes, self.places, self.followers, self.tasks = [], {}, [], []
        self.names = itertools.count()

    # ---- servers ----

    async def start(self):
        folder = pathlib.Path(self.folder.name)
        self.common = [*(word for pair in {**OPTIONS, **self.options}.items() for word in pair)]
        if self.config:
            (folder / "roost.toml").write_text(self.config)
            self.common += ["--config", str(folder / "roost.toml")]
        if self.keeping:
            self.redis = await Redis(folder / "redis", self.keeping).start()
            address = self.redis.address
            if self.with_slow:
                self.slow = await Slow(address).start()
                address = self.slow.address
            self.common += await self._broker(address)
        if self.way:
            self.common += ["--broker", *await self.way(self)]
        for index in range(self.count):
            self.nodes.append(await self._node(index))
        await self.until("all nodes are ready", self.all_ready)
        if self.with_balancer:
            self.balancer = Balancer(folder, self.nodes)

    async def _broker(self, address):
        if not self.access:
            return ["--broker", f"redis://{address}/0"]
        prefix, user, password, database = self.access
        rights = [word.replace("roost:", prefix) for word in documented_rights()]
        await self.redis.command("ACL", "SETUSER", user, "on", f">{password}", *rights)
        return ["--broker-prefix", prefix, "--broker", f"redis://{user}:{password}@{address}/{database}"]

    async def _node(self, index):
        """A node; one that was there before has the same addresses."""
        listen = self.places.get(index, [])
        deadline = asyncio.get_running_loop().time() + RESTART_SECONDS
        while True:
            try:
                node = await asyncio.to_thread(Peer, f"n{index + 1}", *self.common, *listen, environment=self.environment)
                self.places[index] = ["--listen", node.public, "--api", node.api]
                return node
            except AssertionError:
                # Somebody's connection may have been given its port while it was away.
                if not listen or asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(LOOK_SECONDS)

    async def kill_node(self, index):
        """SIGKILL: nobody hears a word from it."""
        await asyncio.to_thread(self.nodes[index].kill)
        self.nodes[index].log.unlink(missing_ok=True)

    async def start_node(self, index):
        self.nodes[index].pool.close()
        self.nodes[index] = await self._node(index)

    async def add_node(self):
        """One more."""
        self.nodes.append(await self._node(len(self.nodes)))
        return self.nodes[-1]

    def living(self):
        return [node for node in self.nodes if node.is_alive()]

    def publics(self):
        """Where a client may connect to: any node, dead or alive, as an address list of a client would have it."""
        return [node.public for node in self.nodes]

    async def all_ready(self, wanted=200):
        return all([await node.status("/readyz") == wanted for node in self.nodes])

    async def demand_alive(self):
        """Whatever Redis does, the nodes live, say so, and answer."""
        for node in self.nodes:
            assert node.is_alive(), f"{node.name} has ended\n{node.log_tail()}"
            assert await node.status("/healthz") == 200, node.name

    async def demand_away(self, seconds=10):
        """The nodes notice that Redis is away, and say so."""
        await self.until("no node is ready", lambda: self.all_ready(503), seconds)
        for node in self.nodes:
            assert await node.figure("roost_broker_up") == 0, node.name
        await self.demand_alive()

    async def demand_back(self, seconds=10):
        async def all_up():
            return await self.all_ready() and all([await node.figure("roost_broker_up") == 1 for node in self.nodes])

        # Asked until both are so: one may notice only now that it has lost Redis.
        await self.until("all nodes are ready again, and say why", all_up, seconds)
        await self.demand_alive()

    # ---- clients ----

    def follow(self, *channels, transports=(WEBSOCKET,), node=None, places=None, stay=None, itinerary=None, token=None):
        """A client that follows from now on: at one node, or wherever `places` leads it."""
        places = places or (self.publics if node is None else lambda: [self.nodes[node].public])
        name = f"client {next(self.names)}"
        rng = random.Random(f"{self.seed}/{name}")
        one = Follower(self.ledger, rng, name, channels, transports, places, stay, token)
        one.itinerary = itinerary
        self.followers.append(one)
        self.tasks.append(asyncio.create_task(one.run(), name=name))
        return one

    async def crowd(self, channels, count=60, **hopping):
        """So many clients of two channels each: some stay at their nodes, others hop between transports and nodes."""
        def two():
            return self.rng.sample(channels, min(2, len(channels)))

        stayers = []
        for transport, share in CROWD.items():
            for number in range(share * count // 60):
                stayers.append(self.follow(*two(), transports=(transport,), node=number % self.count))
        for _ in range(count - len(stayers)):
            self.follow(*two(), transports=ALL, **{"stay": (0.2, 2.5), **hopping})
        await self.joined()
        return stayers

    async def joined(self, seconds=15):
        await self.until("all clients have their subscriptions", lambda: all(one.joined.is_set() for one in self.followers), seconds)

    def publish(self, channels, rate=200):
        """Starts to publish at all nodes that live."""
        self.channels = channels
        self.publisher = Publisher(self.ledger, self.seed, lambda: self.living() or self.nodes, channels, rate)
        self.publishing = asyncio.create_task(self.publisher.run(), name="publisher")
        return self.publisher

    async def published(self, more, seconds=15):
        """Waits until so many more were acknowledged."""
        wanted = self.ledger.counts[ACKNOWLEDGED] + more
        await self.until(f"{more} more are acknowledged", lambda: self.ledger.counts[ACKNOWLEDGED] >= wanted, seconds)

    async def refused(self, *codes, more=1, seconds=10):
        """Waits until so many more publications were answered with one of these codes."""
        def count():
            return sum(self.publisher.codes.get(code, 0) for code in codes)

        wanted = count() + more
        await self.until(f"publishers are told {codes}", lambda: count() >= wanted, seconds)

    def demand_stayed(self, stayers):
        """Nobody of these has lost the connection. A poll is refused while Redis is away, and asked again on a new one."""
        for one in stayers:
            if one.transports != (POLL,):
                assert one.connections == 1 and not one.losses, f"{one} did not stay"

    @property
    def gaps(self):
        return sum(book.gaps for one in self.followers for book in one.books.values())

    async def settle(self, seconds=SETTLE_SECONDS):
        """Ends publishing; then everybody gets to the heads of all channels, and has had everything that was acknowledged."""
        self.publishing.cancel()
        await self.until("the fate of all publications is known", lambda: not self.publisher.under_way, seconds)
        async with asyncio.timeout(seconds):
            heads = {channel: await self.publisher.publish(channel, abandons=False) for channel in self.channels}
        waiting = [book for one in self.followers for book in one.books.values() if book.channel in heads]
        await self.until(
            "everybody is at the head", lambda: all(book.cursor == heads[book.channel] for book in waiting), seconds,
            lambda: "\n".join(f"{book.who} in {book.channel}: {book.cursor}, not {heads[book.channel]}\n  " + "\n  ".join(book.story)
                              for book in waiting if book.cursor != heads[book.channel]),
        )
        for book in waiting:
            book.demand_complete(heads[book.channel])
        query = "&".join(f"channel={channel}" for channel in heads)
        for node in self.living():
            said = await self.ask_public(node, f"/poll?{query}&wait=0")
            assert said["cursors"] == heads, f"{node.name}: {said}, not {heads}"
        print(f"    {self.story()}", flush=True)

    def story(self):
        books = [book for one in self.followers for book in one.books.values()]
        return (
            f"{len(self.ledger.drafts)} publications ({self.ledger.counts[ACKNOWLEDGED]} acknowledged, {self.ledger.counts[REFUSED]} refused for "
            f"good), answers {self.publisher.codes if self.publisher else {}}, {len(self.followers)} clients, "
            f"{sum(one.connections for one in self.followers)} connections, {sum(book.received for book in books)} deliveries, "
            f"{self.gaps} gaps over {sum(book.missing for book in books)}"
        )

    async def ask_public(self, node, path):
        """What a node's public listener answers."""
        pool = Pool(node.public)
        try:
            status, answer = await pool.ask("GET", path)
        finally:
            pool.close()
        assert status == 200, answer
        return answer

    # ---- waiting ----

    async def until(self, what, predicate, seconds=10, story=lambda: ""):
        """Waits until `predicate` is true, or anybody has found something wrong."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            self.demand_right()
            try:
                said = predicate()
                if await said if inspect.isawaitable(said) else said:
                    return
            except LOST:
                pass
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}\n{story()}")
            await asyncio.sleep(LOOK_SECONDS)

    async def pass_time(self, seconds):
        """Lets what is under way go on for so long."""
        end = asyncio.get_running_loop().time() + seconds
        await self.until("time passes", lambda: asyncio.get_running_loop().time() >= end, seconds + 5)

    def demand_right(self):
        """Raises what a client or a publisher has found wrong."""
        for task in [*self.tasks, *([self.publishing] if self.publishing else [])]:
            if task.done() and not task.cancelled() and task.exception():
                raise task.exception()
        if self.publisher and self.publisher.fault:
            raise self.publisher.fault

    # ---- the end ----

    async def _end_clients(self):
        tasks = [*self.tasks, *([self.publishing] if self.publishing else []), *(self.publisher.under_way if self.publisher else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.tasks = []

    async def end(self):
        """Everybody leaves; each node ends as an operator would have it."""
        self.demand_right()
        await self._end_clients()
        if self.balancer:
            self.balancer.end()
        for node in self.living():
            node.pool.close()
        await asyncio.gather(*(asyncio.to_thread(node.end) for node in self.living()))

    async def kill(self):
        """Ends everything, whatever state it is in."""
        await self._end_clients()
        for node in self.nodes:
            node.kill()
            node.pool.close()
        if self.balancer:
            self.balancer.end()
        if self.slow:
            await self.slow.close()
        for server in [*self.servers, *([self.redis] if self.redis else [])]:
            server.kill()
        self.folder.cleanup()

    def notes(self):
        """What helps to understand a failure."""
        yield f"seed {self.seed}: {self.story()}"
        lost = [str(one) for one in self.followers if one.losses]
        yield "\n".join(lost[:NOTED_CLIENTS_MAX])
        for node in self.nodes:
            yield f"the log of {node.name} ({'alive' if node.is_alive() else node.process.poll()}) ends with:\n{node.log_tail()}"
        if self.redis:
            yield f"the log of Redis ends with:\n{self.redis.log_tail()}"
