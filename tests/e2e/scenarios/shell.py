"""roost from a shell: what `roost publish` sends, `roost tail` prints; what `roost ctl` asks, a node answers."""

import json
import signal

from harness import scenario
from node import binary


@scenario("roost tail prints what roost publish sends")
def tail_and_publish(world):
    tail = world.run([binary(), "tail", "news", "other", "--url", f"ws://{world.public}/live"])
    # tail is silent until something arrives; the node knows when it has subscribed.
    while sum(one["subscribers"] for one in world.curl("/channels").json()["channels"]) < 2:
        assert tail.poll() is None, tail.communicate()
    publish = world.run([binary(), "publish", "news", '{"count": 3}', "--api", world.api])
    said, complaint = publish.communicate(timeout=10)
    assert publish.returncode == 0, complaint
    assert "-1" in said, said
    line = json.loads(tail.stdout.readline())
    assert (line["channel"], line["data"], line["offset"]) == ("news", {"count": 3}, 1), line


@scenario("roost publish says what was wrong: exit code 2 for wrong usage, 1 when it was refused or nobody answers")
def publish_fails(world):
    def publish(*arguments):
        process = world.run([binary(), "publish", *arguments, "--api", world.api])
        _, complaint = process.communicate(timeout=10)
        assert complaint.startswith("error: "), (arguments, complaint)
        return process.returncode, complaint

    assert publish("news", "{nonsense")[0] == 2
    assert publish("not a name", "1")[0] in (1, 2)
    assert publish("news", "1" * 70_000)[0] == 1
    world.signal(signal.SIGTERM)
    world.wait()
    code, complaint = publish("news", "1")
    assert code == 1 and world.api in complaint, complaint


@scenario("roost ctl density prints where the bytes of a connection are, and with --json what the API says")
def ctl_density(world):
    def ctl(*arguments):
        process = world.run([binary(), "ctl", "density", "--api", world.api, *arguments])
        said, complaint = process.communicate(timeout=10)
        return process.returncode, said, complaint

    for number in range(3):
        world.subscriber(f"user:{number}")
    code, said, complaint = ctl()
    assert code == 0 and not complaint, complaint
    lines = said.splitlines()
    assert lines[0].startswith("3 connections in "), said
    parts = {line.split()[0]: line.split()[1] for line in lines[3:] if line}
    for name in ("slab", "boxes", "queues", "subscriptions", "channels", "history", "slack", "sum", "unexplained", "rss", "kernel"):
        assert parts[name] != "unknown" and int(parts[name].replace(",", "")) >= 0 or name == "unexplained", said
    code, said, complaint = ctl("--json")
    assert code == 0 and json.loads(said)["connections"] == 3, (said, complaint)
    world.signal(signal.SIGTERM)
    world.wait()
    code, _, complaint = ctl()
    assert code == 1 and world.api in complaint and "does a node run there?" in complaint, complaint


@scenario("roost ctl drain sends clients away, says how far it is, and takes the node back", "--shards", "2")
def ctl_drain(world):
    def ctl(*arguments):
        process = world.run([binary(), "ctl", "drain", "--api", world.api, *arguments])
        said, complaint = process.communicate(timeout=20)
        return process.returncode, said, complaint

    assert ctl("--status") == (0, "serving 0 connections; ready\n", "")
    clients = [world.client() for _ in range(6)]
    code, said, complaint = ctl("--over", "500ms", "--wait")
    assert code == 0 and not complaint, complaint
    first, last = said.splitlines()[0], said.splitlines()[-1]
    assert first.startswith("draining: 6 of 6 connections still to be told, the last in 1 s; not ready"), said
    assert last.startswith("draining: 0 of ") and last.endswith(", the last in 0 s; not ready"), said
    assert [client.closed()[0] for client in clients] == [1001] * 6
    code, said, _ = ctl("--stop", "--json")
    assert code == 0 and json.loads(said)["ready"] is True, said
    world.client().ask({"type": "ping"})
    for wrong in [("--oldest",), ("--percent", "0"), ("--stop", "--over", "1s"), ("--over", "soon")]:
        assert ctl(*wrong)[0] == 2, wrong


@scenario("roost ctl kick ends the connections of a channel, and says with its exit code when nobody was there")
def ctl_kick(world):
    def kick(*arguments):
        process = world.run([binary(), "ctl", "kick", "--api", world.api, *arguments])
        said, complaint = process.communicate(timeout=10)
        return process.returncode, said, complaint

    goers = [world.subscriber("go") for _ in range(3)]
    stayer = world.subscriber("stay")
    assert kick("--channel", "go", "--code", "4321", "--over", "200ms") == (0, "3 connections end within 200ms\n", "")
    for goer in goers:
        assert goer.closed() == (4321, "kicked")
    assert kick("--channel", "go") == (1, "0 connections end\n", "")
    assert kick("--channel", "stay", "--json") == (0, '{"disconnected":1}\n', "")
    assert stayer.closed()[0] == 4006
    assert kick("--channel", "a b")[0] == 1
    assert kick()[0] == kick("--channel", "stay", "--code", "1000")[0] == 2


@scenario("roost ctl channels lists the channels of a prefix, by name or those with the most subscribers first")
def ctl_channels(world):
    def ctl(*arguments):
        process = world.run([binary(), "ctl", "channels", "--api", world.api, *arguments])
        said, complaint = process.communicate(timeout=10)
        assert not complaint, complaint
        assert process.returncode == 0, said
        return said

    assert ctl() == "0 channels\n"
    for channel in ("room:a", "room:b", "room:b", "other"):
        world.subscriber(channel)
    cursor = world.curl("/publish", body=b'{"channel":"room:a","data":1}').json()["cursor"]
    names = lambda said: [line.split()[0] for line in said.splitlines()[3:]]
    said = ctl("room:")
    assert said.startswith("2 channels\n\n  channel  subscribers  kept  cursor\n"), said
    assert said.splitlines()[3].split() == ["room:a", "1", "1", cursor], said
    assert (names(said), names(ctl("room:", "--top"))) == (["room:a", "room:b"], ["room:b", "room:a"]), said
    assert names(ctl()) == ["other", "room:a", "room:b"]
    assert len(json.loads(ctl("--json"))["channels"]) == 3


@scenario("roost ctl conns lists who is connected, and with --json what the API says")
def ctl_conns(world):
    def ctl(*arguments):
        process = world.run([binary(), "ctl", "conns", "--api", world.api, *arguments])
        said, complaint = process.communicate(timeout=10)
        return process.returncode, said, complaint

    assert ctl() == (0, "0 connections\n", "")
    for number in range(3):
        world.subscriber(f"user:{number}")
    code, said, complaint = ctl("--top", "age", "--limit", "2")
    lines = said.splitlines()
    assert code == 0 and lines[0] == "2 of 3 connections" and not complaint, (said, complaint)
    assert lines[2].split() == "connection transport age queued sent received peer user channels".split(), said
    rows = [line.split() for line in lines[3:]]
    assert len(rows) == 2 and {row[-1] for row in rows} < {"user:0", "user:1", "user:2"}, said
    assert all(row[1] == "websocket" and row[3] == "0" and int(row[4].replace(",", "")) > 0 for row in rows), said
    code, said, complaint = ctl("--json", "--top", "bytes")
    found = json.loads(said)
    assert code == 0 and found["total"] == 3 and len(found["connections"]) == 3, (said, complaint)
    one = world.curl("/connections/" + found["connections"][0]["connection"]).json()
    assert one["channels"][0]["state"] == "live" and one["age_s"] < 60, one
    for wrong in (["--top", "oldest"], ["--limit", "0"], ["--limit", "1001"], ["lag"]):
        code, said, complaint = ctl(*wrong)
        assert code == 2 and not said and complaint.startswith("error: "), (wrong, complaint)
