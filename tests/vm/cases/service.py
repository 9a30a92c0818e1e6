"""The service: when it is ready, what it says of itself, and what it reads anew."""

import re

from harness import BINARY, CONFIG, QUICK, case


@case("what install puts in place starts as its own user, and serves as soon as systemctl start returns")
def start(world):
    with world.node() as guest:
        with world.connect() as client:
            assert client.ask(type="ping") == {"type": "pong"}
        assert guest.run("systemctl", "is-active", "roost.service") == "active\n"
        assert world.show("Type") == "notify" and world.show("NRestarts") == "0"
        pid = world.show("MainPID")
        assert guest.run("stat", "--format=%U", f"/proc/{pid}") == "roost\n"
        assert guest.run("readlink", f"/proc/{pid}/exe").strip() == BINARY
        assert guest.run("cat", f"/proc/{pid}/oom_score_adj") == "-500\n"
        assert re.search(r"Max open files +1048576 +1048576", guest.run("cat", f"/proc/{pid}/limits"))


@case("its status tells how many are connected")
def status(world):
    with world.node(**QUICK) as guest:
        clients = [world.connect() for _ in range(3)]
        guest.until("three are told", lambda: world.show("StatusText") == "serving 3 of 2000 connections")
        clients.pop().socket.close()
        guest.until("two are told", lambda: world.show("StatusText") == "serving 2 of 2000 connections")
        for client in clients:
            client.socket.close()


@case("systemctl reload takes over a good file while clients stay, and refuses a bad one")
def reload(world):
    with world.node(**QUICK) as guest, world.connect() as client:
        pid = world.show("MainPID")
        assert client.ask(type="publish", channel="shut:1", data=1)["code"] == "forbidden"
        guest.write("/etc/roost/roost.toml", CONFIG + '[channels."shut:"]\nclients_may_publish = true\n')
        guest.run("systemctl", "reload", "roost.service")
        guest.until("it was read anew", lambda: client.ask(type="publish", channel="shut:1", data=1)["type"] == "published")
        guest.write("/etc/roost/roost.toml", "shards = many\n")
        said = guest.run("systemctl", "reload", "roost.service", code=1)
        assert "failed" in said, said
        assert "roost.toml:1" in guest.log(), guest.log()
        assert client.ask(type="publish", channel="shut:1", data=2)["type"] == "published"
        assert world.show("ActiveState") == "active" and world.show("MainPID") == pid
