"""Ways to Redis: over TLS, and through Sentinels that know which server is the master."""

import asyncio
import os
import pathlib
import ssl
import subprocess

from harness import case
from store import NEVER, Redis, Said, free_port

PASSWORD = "not-for-logs"
CHANNELS = [f"news:{number}" for number in range(4)]
# Sentinel: how long a server is silent until it counts as gone, and how long until another one has taken its place.
SILENT_MS = 1000
FAILOVER_SECONDS = 20


def certify(folder):
    """An authority, and a certificate of this host that it has signed: `authority.pem`, `host.pem`, `host.key`."""

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "authority.key", "-out", "authority.pem", "-days", "2", "-subj", "/CN=authority")
    openssl("req", *key, "-keyout", "host.key", "-out", "host.csr", "-subj", "/CN=redis")
    (folder / "host.ext").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "host.csr", "-CA", "authority.pem", "-CAkey", "authority.key", "-days", "2",
            "-extfile", "host.ext", "-out", "host.pem")  # fmt: skip


async def over_tls(world):
    """A Redis that speaks TLS alone; nodes trust its authority."""
    folder = pathlib.Path(world.folder.name)
    certify(folder)
    files = [word for option, name in (("cert", "host.pem"), ("key", "host.key"), ("ca-cert", "authority.pem"))
             for word in (f"--tls-{option}-file", str(folder / name))]  # fmt: skip
    context = ssl.create_default_context(cafile=folder / "authority.pem")
    server = Redis(folder / "redis", NEVER, *files, "--tls-auth-clients", "no", tls=context)
    world.servers.append(await server.start())
    await server.command("ACL", "SETUSER", "roost", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    world.environment["SSL_CERT_FILE"] = str(folder / "authority.pem")
    return [f"rediss://roost:{PASSWORD}@{server.address}/0"]


@case("Redis over TLS is served from where the host trusts who signed its certificate, and from nobody else", seconds=40, way=over_tls)
async def tls(world):
    stayers = await world.crowd(CHANNELS, count=20)
    world.publish(CHANNELS)
    await world.published(200)
    await world.settle()
    world.demand_stayed(stayers)
    world.environment["SSL_CERT_FILE"] = os.devnull
    stranger = await world.add_node()
    await world.until("its log says why", lambda: "certificate" in stranger.log.read_text())
    assert await stranger.status("/readyz") == 503
    assert not any(PASSWORD in node.log.read_text() for node in world.nodes)


async def by_sentinel(world):
    """A master, its replica, and a Sentinel that watches them. One more that is named is not there."""
    folder = pathlib.Path(world.folder.name)
    master = await Redis(folder / "first", NEVER).start()
    replica = Redis(folder / "second", NEVER, "--replicaof", "127.0.0.1", str(master.port))
    world.servers += [master, await replica.start()]
    rules = folder / "sentinel.conf"
    rules.write_text(
        f"sentinel monitor main 127.0.0.1 {master.port} 1\nsentinel down-after-milliseconds main {SILENT_MS}\n"
        "sentinel failover-timeout main 3000\nprotected-mode no\n"
    )
    sentinel = Redis(folder / "sentinel", NEVER, program=[str(rules), "--sentinel"])
    world.servers.append(await sentinel.start())

    async def knows_both():
        try:
            return len(await sentinel.command("SENTINEL", "REPLICAS", "main")) == 1
        except Said:
            return False

    while not await knows_both():
        await asyncio.sleep(0.1)
    return [f"redis+sentinel://127.0.0.1:{free_port()},{sentinel.address}/main"]


@case("the master is killed, Sentinel makes its replica one, and nodes go on there by themselves", seconds=60, way=by_sentinel)
async def failover(world):
    stayers = await world.crowd(CHANNELS, count=20)
    world.publish(CHANNELS)
    await world.published(200)
    world.servers[0].kill()
    await world.refused("unavailable", more=5)
    await world.demand_back(FAILOVER_SECONDS)
    await world.published(200)
    await world.settle()
    world.demand_stayed(stayers)
    assert world.gaps > 0, "a replica may lack the last publications: it has to begin anew"
