"""Sockets that systemd has opened: what comes over them, who shares them, and what a new process takes over from the one before."""

import contextlib
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import tempfile

from harness import START_SECONDS, World, in_parallel, refuses, scenario
from node import ROOT, Node, activation, binary
from wire import TEXT, Wire, frame, upgrade

CROWD, SHARDS = 400, 4
# As the node calls it in its errors.
NAMELESS = "unknown"
# A limit below every descriptor that a node has: nobody can be accepted, not even to be refused.
NOTHING = 4


def listening(address=("127.0.0.1", 0), family=socket.AF_INET, kind=socket.SOCK_STREAM, listens=True):
    """A socket as a .socket unit makes one; a path or an abstract name makes it a Unix socket."""
    one = socket.socket(socket.AF_UNIX if isinstance(address, str) else family, kind)
    one.bind(address)
    if listens:
        one.listen(4096)
    return one


@contextlib.contextmanager
def activated(*options, passed, confined=()):
    """A node that got these sockets, pairs of a name and a socket; it must end well."""
    world = World(*options, passed=passed, confined=confined)
    try:
        yield world
        world.end()
    except BaseException as fault:
        fault.add_note(f"the log of the node with sockets ends with:\n{world.log_tail()}")
        raise
    finally:
        world.kill()


def address(one):
    """`HOST:PORT` of a socket."""
    host, port = one.getsockname()[:2]
    return f"{host}:{port}"


def by_shard(world):
    """How many connections each shard has."""
    found = re.findall(r'^roost_connections\{shard="(\d+)"\} (\d+)$', world.curl("/metrics").text, re.MULTILINE)
    return [int(count) for _, count in found]


def crowd(world, count, threads=4):
    """Connects so many WebSockets, several at a time."""
    wires = []

    def some():
        wires.extend(world.wire().open() for _ in range(count // threads))

    in_parallel(*[some] * threads)
    return wires


def is_even(counts):
    """Whether nobody has far less than an even share."""
    return len(counts) == SHARDS and min(counts) >= sum(counts) / SHARDS / 2


def lives(wire):
    """Demands that a WebSocket is served."""
    wire.send(frame(TEXT, '{"type":"ping"}'))
    assert wire.frame() == (TEXT, b'{"type":"pong"}')


@scenario("shards share a socket from systemd evenly, and all of them serve", seconds=60)
def shared(_world):
    with listening() as public, activated("--shards", str(SHARDS), passed=[("public", public)]) as world:
        assert world.public == address(public)
        log = world.log.read_text()
        assert f'public={address(public)} api="{world.api}"' in log and 'from_systemd="public"' in log, log
        wires = crowd(world, CROWD)
        assert sum(by_shard(world)) == CROWD and is_even(by_shard(world)), by_shard(world)
        for wire in wires:
            lives(wire)
        # Those who come one by one, while all sleep, are spread as well.
        one_by_one = [world.wire().open() for _ in range(CROWD // 4)]
        assert sum(by_shard(world)) == CROWD + len(one_by_one) and is_even(by_shard(world)), by_shard(world)


@scenario("shards with tables of their own share a socket from systemd, to the last place and not beyond", seconds=60)
def own_tables(_world):
    options = ["--shards", str(SHARDS), "--max-connections", "300"]
    with listening() as public, activated(*options, passed=[("public", public)], confined=("120", "none")) as world:
        assert "own_tables=true connections=300" in world.log.read_text(), world.log_tail()
        wires = crowd(world, 300)
        assert sum(by_shard(world)) == 300, by_shard(world)
        for _ in range(20):
            with Wire(world.public) as late:
                late.send(upgrade())
                assert late.response().status == 503
        wires.pop().socket.close()
        while sum(by_shard(world)) == 300:
            pass
        lives(world.wire().open())
        for wire in wires:
            lives(wire)


@scenario("several sockets from systemd are all listened on, of one address or of several, by however many shards", seconds=60)
def several(_world):
    for shards in ("1", "2", "3"):
        with contextlib.ExitStack() as stack:
            first, other = (stack.enter_context(listening((host, 0))) for host in ("127.0.0.1", "127.0.0.2"))
            world = stack.enter_context(activated("--shards", shards, passed=[("public", first), ("public", other)]))
            assert world.publics == [address(first), address(other)], world.publics
            for place in world.publics * 5:
                lives(world.wire(place).open())
    with contextlib.ExitStack() as stack:
        group = []
        for _ in range(2):
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(group[0].getsockname() if group else ("127.0.0.1", 0))
            one.listen(4096)
            group.append(one)
        world = stack.enter_context(activated("--shards", str(SHARDS), passed=[("public", one) for one in group]))
        wires = crowd(world, CROWD)
        assert sum(by_shard(world)) == CROWD and is_even(by_shard(world)), by_shard(world)
        for wire in wires:
            lives(wire)


@scenario("the API listens on a socket from systemd, over TCP or a file that stays, beside either kind of public listener", "--shards", "1")
def api(_world):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "api.sock")
        with listening(path) as unix, listening() as public:
            with activated(passed=[("api", unix), ("public", public)]) as world:
                assert world.api == f"unix:{path}" and world.public == address(public)
                assert 'from_systemd="public api"' in world.log.read_text()
                assert world.curl("/readyz").status == 200
            assert os.path.exists(path), "it is systemd's"
            with activated(passed=[("api", unix)]) as world:
                assert world.public != address(public) and world.curl("/readyz").status == 200
                lives(world.wire().open())
    with listening() as tcp, activated(passed=[("api", tcp)]) as world:
        assert world.api == address(tcp) and world.curl("/readyz").status == 200


@scenario("one socket from systemd without a name of its own is the public one")
def nameless(_world):
    for name in (NAMELESS, "roost.socket"):
        with listening() as public, activated(passed=[(name, public)]) as world:
            assert world.public == address(public)
            lives(world.wire().open())


def wrong(folder):
    """Sockets that are not taken: names and sockets, the number of the wrong one, and words of the error."""
    tcp = listening()
    unix = listening(os.path.join(folder, "wrong.sock"))
    abstract = listening(f"\0roost-{os.getpid()}")
    datagram = listening(kind=socket.SOCK_DGRAM, listens=False)
    silent = listening(listens=False)
    open_to_all = listening(("0.0.0.0", 0))
    no_socket = open(ROOT / "README.md")
    return [
        ([("metrics", tcp)], 3, "roost takes `public` and `api`: name it so with FileDescriptorName="),
        ([("public", tcp), ("edge.socket", tcp)], 4, "FileDescriptorName="),
        ([(NAMELESS, tcp), (NAMELESS, unix)], 3, "set FileDescriptorName=public or FileDescriptorName=api"),
        ([("public", no_socket)], 3, "no socket: ListenStream="),
        ([("public", datagram)], 3, "no stream: use ListenStream="),
        ([("public", silent)], 3, "does not listen: use ListenStream= with Accept=no"),
        ([("public", unix)], 3, "clients come over TCP"),
        ([("public", abstract)], 3, "clients come over TCP"),
        ([("api", abstract)], 3, "without a file"),
        ([("public", tcp), ("api", open_to_all)], 4, "has no keys"),
        ([("api", tcp), ("api", unix)], 4, "one for the API already"),
    ]


@scenario("each wrong socket from systemd is named by number and name, with what would be right")
def refused(_world):
    with tempfile.TemporaryDirectory() as folder:
        for passed, number, words in wrong(folder):
            code, said = refuses("serve", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", passed=passed)
            assert code == 1, said
            name = passed[number - 3][0]
            assert said.startswith(f"error: descriptor {number} (`{name}`) from systemd: "), said
            assert words in said, said


@scenario("the sockets of another process are not taken, names that do not fit their number are refused, and --check takes none")
def foreign(_world):
    environment = {**os.environ, "LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "public"}
    node = Node("--shards", "1", environment=environment)
    try:
        assert "from_systemd" not in node.log.read_text(), node.log_tail()
        node.end()
    finally:
        node.kill()
    with listening() as public:
        # One socket and two names.
        code, said = refuses("serve", passed=[("public:api", public)])
        assert code == 1 and "LISTEN_FDS" in said and "LISTEN_FDNAMES" in said, said
        # Only a node that starts has to do with them.
        done = subprocess.run(
            [*activation([("metrics", public)]), binary(), "serve", "--check"],
            capture_output=True, text=True, timeout=START_SECONDS, check=False, pass_fds=[public.fileno()],
        )
        assert done.returncode == 0 and "valid" in done.stdout, done


def holds(pid, inode):
    """Whether any descriptor of a process is this socket, in whichever of its tables."""
    for fd in pathlib.Path(f"/proc/{pid}/task").glob("*/fd/*"):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(fd) == f"socket:[{inode}]":
                return True
    return False


def loses_nobody(*options, confined=()):
    """Demands that a node leaves its socket to the next one, with everybody who waits there."""
    with listening() as public, contextlib.ExitStack() as stack:
        inode = os.fstat(public.fileno()).st_ino
        knock = lambda: stack.enter_context(Wire(address(public)))
        options = ["--shards", str(SHARDS), "--drain-over", "1h", *options]
        node = lambda: activated(*options, passed=[("public", public)], confined=confined)
        with node() as world:
            stays = world.wire().open()
            assert holds(world.process.pid, inode)
            # These come while it cannot accept, and still wait when it begins to leave.
            _, hard = resource.prlimit(world.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(world.process.pid, resource.RLIMIT_NOFILE, (NOTHING, hard))
            waiting = [knock() for _ in range(10)]
            while "they wait" not in world.log.read_text():
                pass
            world.signal(signal.SIGTERM)
            while holds(world.process.pid, inode):
                pass
            # It is still there, and has no more to do with them.
            waiting += [knock() for _ in range(10)]
            for wire in waiting[:15]:
                wire.send(upgrade())
            assert stays.close_code() == 1001
            stays.socket.close()
            assert world.wait() == 0
        waiting += [knock() for _ in range(20)]
        for wire in waiting[15:]:
            wire.send(upgrade())
        with node():
            for wire in waiting:
                assert wire.response().status == 101
                lives(wire)
            for wire in waiting:
                wire.socket.close()


@scenario("whoever connects while a node with a socket from systemd starts anew waits, and is served by the next one", seconds=60)
def restarted(_world):
    loses_nobody()
    loses_nobody("--max-connections", "300", confined=("120", "none"))


@scenario("a drain that the node survives tells those who come to a socket from systemd 503", "--shards", "2")
def drained(_world):
    with listening() as public, activated("--shards", "2", passed=[("public", public)]) as world:
        assert world.curl("/drain", body=b'{"over_ms":0}').status == 200
        while world.curl("/readyz").status == 200:
            pass
        with Wire(world.public) as late:
            late.send(upgrade())
            assert late.response().status == 503
        assert world.curl("/drain", "--request", "DELETE").status == 200
        while True:
            with Wire(world.public) as back:
                back.send(upgrade())
                if back.response().status == 101:
                    break
