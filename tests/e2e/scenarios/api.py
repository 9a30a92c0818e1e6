"""The API over HTTP/1.1, with curl as the client: answers, errors, health, metrics, keep-alive and pipelining."""

import json
import re
import subprocess
import tempfile

from harness import scenario
from node import ROOT, binary
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

DATA_BYTES_MAX = 64 * 1024


@scenario("/healthz and /readyz answer 200")
def health(world):
    assert world.curl("/healthz").status == 200
    assert world.curl("/readyz").status == 200


def metrics(world):
    """The samples of /metrics by name, labels summed up, read by Prometheus' own parser."""
    answer = world.curl("/metrics")
    assert answer.status == 200, answer
    parse = openmetrics if "openmetrics" in answer.content_type else plain_text
    assert "openmetrics" in answer.content_type or answer.content_type.startswith("text/plain"), answer
    sums = {}
    for family in parse(answer.text):
        assert family.documentation and family.type != "unknown", family
        assert family.name.startswith(("roost_", "process_")), family.name
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


@scenario("/metrics is read by Prometheus' own parser and counts what happened")
def counted(world):
    before = metrics(world)
    clients = [world.subscriber("a") for _ in range(3)]
    world.publish("a", 1)
    assert [client.hear()["data"] for client in clients] == [1, 1, 1]
    after = metrics(world)
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown["roost_connections"] == 3, grown
    assert grown["roost_subscriptions"] == 3, grown
    assert grown["roost_messages_published_total"] == 1, grown
    assert grown["roost_messages_delivered_total"] == 3, grown


@scenario("/debug/density counts the connections, and its parts add up to the resident set", "--shards", "2")
def density(world):
    clients = [world.subscriber("shared", f"user:{number}") for number in range(20)]
    found = world.curl("/debug/density").json()
    assert (found["connections"], found["shards"]) == (len(clients), 2), found
    listed = sum(part["bytes"] for part in found["parts"].values()) + found["slack"]["bytes"]
    assert listed == found["sum"]["bytes"], found
    assert found["sum"]["bytes"] + found["unexplained"]["bytes"] == found["rss_bytes"], found
    assert found["rss_bytes"] - found["rss_at_start_bytes"] == found["grown"]["bytes"], found
    for name in ("slab", "subscriptions", "channels", "channels_owned"):
        part = found["parts"][name]
        assert part["bytes"] > 0 and abs(part["bytes_per_connection"] - part["bytes"] / 20) < 0.1, found
    kernel = found["kernel"]
    assert kernel["sizes"] in ("slabinfo", "documented") and 3000 < kernel["bytes_per_connection"] < 6000, kernel
    assert kernel["bytes"] == 20 * sum(kernel["objects"].values()), kernel
    assert kernel["tcp_sockets"] >= 40, kernel
    head = world.curl("/debug/density", "-I")
    assert head.status == 200 and "{" not in head.text, head
    wrong = world.curl("/debug/density", "-X", "POST")
    wrong.error(405, "method_not_allowed")


@scenario("/status says what happened, and / is a page that shows it", "--shards", "2")
def status(world):
    clients = [world.subscriber("shared") for _ in range(5)]
    world.publish("shared", 1)
    assert [client.hear()["data"] for client in clients] == [1] * 5
    found = world.curl("/status").json()
    assert found["connections"]["count"] == 5 and found["messages"]["published"] == 1, found
    assert found["messages"]["delivered"] == 5 and found["over_ms"] > 0, found
    assert found["channels"]["top"] == [{"channel": "shared", "subscribers": 5, "unsure": 0}], found
    assert [shard["answered"] for shard in found["shards"]] == [True, True], found
    assert {close["fault"] for close in found["closes"]} == {"nobody", "peer", "network", "node"}, found
    page = world.curl("/")
    assert page.status == 200 and page.content_type == "text/html; charset=utf-8", page
    assert page.text.startswith("<!doctype html>") and "status/events" in page.text, page
    for path in ("/", "/status", "/status/events"):
        head = world.curl(path, "-I")
        assert head.status == 200 and "{" not in head.text and "<" not in head.text, head
        world.curl(path, "-X", "POST").error(405, "method_not_allowed")
        world.curl(path, "-H", "Origin: https://evil.example").error(403, "forbidden")


@scenario("/status/events is a stream that curl reads: an event at once, and one a second from then on")
def events(world):
    curl = world.run(["curl", "--silent", "--no-buffer", "--noproxy", "*", f"http://{world.api}/status/events"])
    lines = []
    while sum(line.startswith("data: ") for line in lines) < 3:
        lines.append(curl.stdout.readline())
    assert lines[0].startswith("retry: ") and lines[1] == "\n", lines
    seen = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert seen[0]["node"]["watchers"] == 1, seen
    apart = [later["node"]["uptime_ms"] - sooner["node"]["uptime_ms"] for sooner, later in zip(seen, seen[1:])]
    assert all(900 <= ms < 5000 for ms in apart), apart
    assert metrics(world)["roost_status_watchers"] == 1


@scenario("/channels lists what is subscribed, by prefix, and /channels/{c} tells of one")
def channels(world):
    world.subscriber("chat:1", "chat:2", "news/today")
    world.subscriber("chat:1")
    world.publish("chat:1", 1)
    listed = world.curl("/channels?prefix=chat:").json()["channels"]
    assert {one["channel"]: one["subscribers"] for one in listed} == {"chat:1": 2, "chat:2": 1}, listed
    assert len(world.curl("/channels").json()["channels"]) == 3
    assert world.curl("/channels?prefix=nothing").json()["channels"] == []
    one = world.curl("/channels/chat:1").json()
    assert one["channel"] == "chat:1" and one["subscribers"] == 2 and one["cursor"].endswith("-1"), one
    for path in ["/channels/news/today", "/channels/news%2Ftoday"]:
        assert world.curl(path).json()["channel"] == "news/today", path


@scenario("an unknown path gets 404 and a wrong method 405, both in JSON")
def unknown(world):
    world.curl("/nowhere").error(404, "not_found")
    world.curl("/live").error(404, "not_found")
    wrong = world.curl("/publish")
    wrong.error(405, "method_not_allowed")
    assert world.curl("/metrics", "-X", "DELETE").status == 405
    assert world.curl("/healthz", "-I").status in (200, 405)


@scenario("a publish call that cannot be understood gets 400 and a code")
def bad_publish(world):
    for body in [b"{", b"nonsense", b'{"channel":"a","data":}', b'{"channel":"a","data":1} x', b'{"channel":"a","data":\xff}']:
        world.curl("/publish", body=body).error(400, "bad_json")
    for body in [b"[]", b"{}", b'{"channel":"a"}', b'{"data":1}', b'{"channel":7,"data":1}', b'{"channels":"a","data":1}', b'{"channels":[],"data":1}',
                 b'{"channel":"a","channels":["b"],"data":1}']:
        world.curl("/publish", body=body).error(400, "bad_request")
    for name in ["", "a b", "x" * 165, "\u00e4"]:
        world.curl("/publish", body=json.dumps({"channel": name, "data": 1}).encode()).error(400, "bad_channel")
    world.curl("/publish", "-X", "POST").error(400, "bad_json")


@scenario("a publication that is sent again with its id is delivered once, and answered with the first cursor", "--shards", "2")
def again(world):
    channels = [f"orders/{number}" for number in range(8)]
    client = world.subscriber(*channels)

    def send(channel, data, **members):
        answer = world.curl("/publish", body=json.dumps({"channel": channel, "data": data, **members}).encode())
        assert answer.status == 200, answer
        return answer.json()["cursor"]

    first = {channel: send(channel, "first", id="17") for channel in channels}
    for _ in range(3):
        assert {channel: send(channel, "again", id="17") for channel in channels} == first
    lines = "".join(json.dumps({"channels": channels, "data": "again", "id": "17"}) + "\n" for _ in range(2))
    answer = world.curl("/publish", "-H", "Content-Type: application/x-ndjson", body=lines.encode())
    for line in answer.text.splitlines():
        assert {one["channel"]: one["cursor"] for one in json.loads(line)["results"]} == first, line
    last = {channel: send(channel, "last", id="18") for channel in channels}
    assert all(cursor.endswith("-2") for cursor in last.values()), last
    heard = [client.hear() for _ in range(2 * len(channels))]
    for channel in channels:
        assert [one["data"] for one in heard if one["channel"] == channel] == ["first", "last"], heard
    assert metrics(world)["roost_messages_repeated_total"] == 5 * len(channels)
    for wrong in ["", "x" * 129, 7, None]:
        answer = world.curl("/publish", body=json.dumps({"channel": "a", "data": 1, "id": wrong}).encode())
        answer.error(400, "bad_request")
        assert "1 to 128 bytes" in answer.text, answer


@scenario("data of exactly 64 KiB is published and one byte more gets 413")
def largest(world):
    client = world.subscriber("a")
    data = json.dumps("x" * (DATA_BYTES_MAX - 2))
    assert world.curl("/publish", body=f'{{"channel":"a","data":{data}}}'.encode()).status == 200
    assert f'"data":{data}' in client.hear_text()
    data = json.dumps("x" * (DATA_BYTES_MAX - 1))
    world.curl("/publish", body=f'{{"channel":"a","data":{data}}}'.encode()).error(413, "too_large")
    assert world.curl("/publish", body=b" " * (17 * 1024 * 1024)).status == 413


@scenario("one connection carries many requests, one after the other")
def keep_alive(world):
    wire = world.wire(world.api)
    for number in range(50):
        body = json.dumps({"channel": "a", "data": number}).encode()
        wire.send(b"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        response = wire.response()
        assert response.status == 200, response.body
        assert json.loads(response.body)["cursor"].endswith(f"-{number + 1}"), response.body
    wire.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert wire.response().status == 200
    wire.ended()


@scenario("pipelined requests are answered in their order")
def pipelined(world):
    wire = world.wire(world.api)
    requests = []
    for number in range(20):
        body = json.dumps({"channel": "a", "data": number}).encode()
        requests.append(b"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        requests.append(b"GET /channels/nobody HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.send(b"".join(requests))
    for number in range(20):
        response = wire.response()
        assert response.status == 200 and json.loads(response.body)["cursor"].endswith(f"-{number + 1}"), response.body
        assert wire.response().status == 404


@scenario("a request that arrives byte by byte is answered")
def byte_by_byte(world):
    body = b'{"channel":"a","data":1}'
    wire = world.wire(world.api)
    for one in b"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body):
        wire.send(bytes([one]))
    assert wire.response().status == 200


@scenario("HTTP/1.0 is answered and the connection ends")
def old_http(world):
    wire = world.wire(world.api)
    wire.send(b"GET /healthz HTTP/1.0\r\n\r\n")
    response = wire.response()
    assert response.status == 200, response.status
    wire.ended()


@scenario("a request whose length is in doubt gets 400 and the connection ends")
def smuggling(world):
    doubtful = [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length : 5\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
    ]
    for lines in doubtful:
        wire = world.wire(world.api)
        wire.send(b"POST /publish HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n12345GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        response = wire.response()
        assert response.status in (400, 411, 501), f"{lines!r}: {response.status}"
        wire.ended()


@scenario("cursors and channels in answers have the form the protocol gives them")
def forms(world):
    answer = world.publish("a", None)
    assert set(answer) == {"channel", "cursor"} and answer["channel"] == "a", answer
    assert re.fullmatch(r"[0-9A-Za-z]+-1", answer["cursor"]), answer


@scenario("every curl call in README.md is answered with 200, and each roost.toml in it is valid")
def readme(world):
    blocks = re.findall("```(sh|toml)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    calls = [call for kind, block in blocks if kind == "sh" for call in block.replace("|\n", "| ").splitlines() if "curl" in call]
    assert len(calls) >= 5, calls
    for call in calls:
        call = call.replace("localhost:8081", world.api).replace("localhost:8080", world.public).replace("since=CURSOR&wait=25", "wait=0")
        # A stream never ends by itself: curl gives it up with 28.
        endless = " -N " in call
        call = re.sub(r"\bcurl\b", f"curl --silent --fail --max-time {2 if endless else 10}", call)
        done = subprocess.run(["sh", "-c", call], capture_output=True, text=True, timeout=15, check=False)
        assert done.returncode == (28 if endless else 0) and done.stdout, (call, done)
    configurations = [block for kind, block in blocks if kind == "toml"]
    assert configurations, blocks
    for toml in configurations:
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(toml)
            file.flush()
            done = subprocess.run([binary(), "serve", "--check", "--config", file.name], capture_output=True, text=True, timeout=10, check=False)
        assert done.returncode == 0, (toml, done)
