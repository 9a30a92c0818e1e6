"""The upgrade, byte by byte: what gets 101, and the status and reason of every refusal."""

import json
import re

from harness import scenario
from wire import ACCEPT, KEY, TEXT, frame, upgrade

PING_MESSAGE = '{"type":"ping"}'


def ask(world, request):
    """The response to these bytes, and the connection it came on."""
    wire = world.wire()
    wire.send(request)
    return wire.response(), wire


def accepted(world, **request):
    """Demands that this upgrade gets 101 and that the connection then speaks frames."""
    response, wire = ask(world, upgrade(**request))
    assert response.status == 101, f"{request}: {response.status} {response.body!r}"
    assert response.headers["sec-websocket-accept"] == ACCEPT, response.headers
    assert response.headers["upgrade"].lower() == "websocket" and response.headers["connection"].lower() == "upgrade"
    assert "sec-websocket-extensions" not in response.headers, response.headers
    wire.send(frame(TEXT, PING_MESSAGE))
    assert json.loads(wire.frame()[1]) == {"type": "pong"}
    return response


def refused(world, request, *statuses):
    """Demands that these bytes get one of these statuses, a reason in JSON on one line, and the end."""
    response, wire = ask(world, request)
    assert response.status in statuses, f"{request[:300]!r}: {response.status} {response.body!r}"
    assert response.headers["content-type"].startswith("application/json"), response.headers
    assert len(response.body.strip().splitlines()) == 1, response.body
    error = json.loads(response.body)["error"]
    assert re.fullmatch("[a-z_]+", error["code"]) and error["message"], error
    wire.ended()
    return response


@scenario("a request that arrives byte by byte is upgraded")
def byte_by_byte(world):
    wire = world.wire()
    for one in upgrade():
        wire.send(bytes([one]))
    assert wire.response().status == 101
    for one in frame(TEXT, PING_MESSAGE):
        wire.send(bytes([one]))
    assert json.loads(wire.frame()[1]) == {"type": "pong"}


@scenario("frames glued to the request are read after the 101")
def glued(world):
    wire = world.wire()
    wire.send(upgrade() + frame(TEXT, '{"type":"subscribe","channel":"a"}') + frame(TEXT, PING_MESSAGE)[:7])
    assert wire.response().status == 101
    assert json.loads(wire.frame()[1])["type"] == "subscribed"


@scenario("header names in any case, lists of tokens and other headers are accepted")
def cases(world):
    accepted(world, without=("Connection",), headers=[("connection", "keep-alive, UPGRADE")])
    accepted(world, without=("Connection",), headers=[("Connection", "keep-alive"), ("Connection", "upgrade")])
    accepted(world, without=("Upgrade",), headers=[("uPGRADE", "WebSocket")])
    accepted(world, without=("Sec-WebSocket-Key",), headers=[("SEC-WEBSOCKET-KEY", f"  {KEY}\t")])
    accepted(world, headers=[("Cookie", "a=b; c=d"), ("X-Empty", ""), ("User-Agent", "é".encode().decode("latin-1"))])
    accepted(world, headers=[("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")])
    accepted(world, path="/live?x=%20&y")


@scenario("a subprotocol is echoed only where it is ours")
def subprotocol(world):
    response = accepted(world, headers=[("Sec-WebSocket-Protocol", "soap, wamp")])
    assert "sec-websocket-protocol" not in response.headers, response.headers
    for offer in [[("Sec-WebSocket-Protocol", "soap, roost.v1")], [("Sec-WebSocket-Protocol", "soap"), ("Sec-WebSocket-Protocol", "roost.v1")]]:
        response, _ = ask(world, upgrade(headers=offer))
        assert response.headers["sec-websocket-protocol"] == "roost.v1", response.headers


@scenario("another version than 13 gets 426, which names 13")
def version(world):
    for value in ["8", "7", "14", "0", "x"]:
        request = upgrade(without=("Sec-WebSocket-Version",), headers=[("Sec-WebSocket-Version", value)])
        response = refused(world, request, 426)
        assert response.headers["sec-websocket-version"] == "13", response.headers
    refused(world, upgrade(without=("Sec-WebSocket-Version",)), 400, 426)


@scenario("a missing, doubled or malformed key gets 400")
def key(world):
    refused(world, upgrade(without=("Sec-WebSocket-Key",)), 400)
    refused(world, upgrade(headers=[("Sec-WebSocket-Key", KEY)]), 400)
    for bad in ["", "x", KEY[:-1], KEY + "A", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25j", "!" * 22 + "==", KEY + ", " + KEY]:
        refused(world, upgrade(without=("Sec-WebSocket-Key",), headers=[("Sec-WebSocket-Key", bad)]), 400)


@scenario("a missing or second Host gets 400")
def host(world):
    refused(world, upgrade(without=("Host",)), 400)
    refused(world, upgrade(headers=[("Host", "other.test")]), 400)


@scenario("an upgrade with a body gets 400 and the body is never read as frames")
def body(world):
    tail = frame(TEXT, PING_MESSAGE)
    for line in [("Content-Length", str(len(tail))), ("Content-Length", "x"), ("Transfer-Encoding", "chunked")]:
        refused(world, upgrade(headers=[line]) + tail, 400)
    refused(world, upgrade(headers=[("Content-Length", "5"), ("Transfer-Encoding", "chunked")]), 400)


@scenario("other methods and versions of HTTP are refused")
def methods(world):
    for method in ["POST", "PUT", "OPTIONS"]:
        response, _ = ask(world, upgrade(method=method))
        assert response.status in (400, 405), f"{method}: {response.status}"
    head = world.wire()
    head.send(upgrade(method="HEAD"))
    assert head.response(head_only=True).status == 405
    head.ended()
    refused(world, upgrade(version="HTTP/1.0"), 400, 426, 505)
    refused(world, upgrade(version="HTTP/2.0"), 400, 505)


@scenario("a plain GET of /live is told to upgrade, and an unknown path gets 404")
def plain(world):
    refused(world, upgrade(without=("Upgrade", "Connection")), 400, 426)
    refused(world, upgrade(without=("Upgrade",)), 400, 426)
    refused(world, upgrade(without=("Connection",)), 400, 426)
    for path in ["/", "/nowhere", "/live/x", "/liveliness", "/echo", "/publish", "/metrics"]:
        response, _ = ask(world, upgrade(path=path))
        assert response.status == 404, f"{path}: {response.status}"
        assert json.loads(response.body)["error"]["code"], response.body


@scenario("a head of more than 8 KiB or 64 headers gets 431")
def head_limits(world):
    refused(world, upgrade(headers=[("X-Long", "x" * 8192)]), 431)
    refused(world, upgrade(headers=[(f"X-{number}", "1") for number in range(64)]), 431)
    accepted(world, headers=[(f"X-{number}", "1") for number in range(58)])
    accepted(world, headers=[("X-Long", "x" * 7000)])


@scenario("a malformed head gets 400")
def malformed(world):
    good = upgrade()
    refused(world, good.replace(b"Upgrade: websocket", b"Upgrade : websocket"), 400)
    refused(world, good.replace(b"Upgrade: websocket", b"Upgrade: websocket\r\n folded"), 400)
    refused(world, good.replace(b"Upgrade: websocket", b"Upgrade: web\x00socket"), 400)
    refused(world, good.replace(b"GET /live", b"GET  /live"), 400)
    refused(world, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20) + b"\r\n\r\n", 400)


@scenario("a foreign Origin gets 403; the same one, or none, gets 101")
def same_origin(world):
    accepted(world)
    accepted(world, host="roost.test", headers=[("Origin", "http://roost.test")])
    accepted(world, host="roost.test:8080", headers=[("Origin", "http://roost.test:8080")])
    accepted(world, host="ROOST.test", headers=[("Origin", "http://roost.TEST")])
    for origin in ["http://evil.test", "http://roost.test.evil.test", "http://evilroost.test", "null", "http://roost.test:81", "x", "http://", ""]:
        refused(world, upgrade(host="roost.test", headers=[("Origin", origin)]), 403)
    refused(world, upgrade(headers=[("Origin", "http://roost.test"), ("Origin", "http://evil.test")]), 400, 403)


@scenario("--origin lists the origins that may connect", "--origin", "https://app.test", "--origin", "http://localhost:3000")
def origin_list(world):
    for origin in ["https://app.test", "http://localhost:3000", "HTTPS://APP.TEST"]:
        accepted(world, headers=[("Origin", origin)])
    for origin in ["http://app.test", "https://app.test:444", "https://sub.app.test", "http://localhost", "null"]:
        refused(world, upgrade(headers=[("Origin", origin)]), 403)


@scenario("--origin * lets everybody in", "--origin", "*")
def any_origin(world):
    for origin in ["https://app.test", "null"]:
        accepted(world, headers=[("Origin", origin)])


@scenario("a handshake that does not finish in time is ended", "--handshake-timeout", "1s")
def too_slow(world):
    silent = world.wire()
    halfway = world.wire()
    halfway.send(upgrade()[:-2])
    for wire in (silent, halfway):
        text = b""
        while piece := wire.socket.recv(65536):
            text += piece
        assert text == b"" or text.startswith(b"HTTP/1.1 408 "), text
    accepted(world)
