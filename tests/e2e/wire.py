"""WebSocket and HTTP as bytes on a TCP connection: for what no well-behaved client would send.

Must never know roost's messages.
"""

import base64
import os
import re
import socket
import struct

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
# The answer to KEY that RFC 6455 section 1.3 gives.
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
TIMEOUT_SECONDS = 10


def upgrade(path="/live", host="roost.test", headers=(), method="GET", version="HTTP/1.1", without=()):
    """The bytes of an upgrade request: a valid one, but for the lines added and those left out by name."""
    lines = [("Host", host), ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", KEY)]
    lines.append(("Sec-WebSocket-Version", "13"))
    kept = [line for line in lines if line[0] not in without] + list(headers)
    return "".join([f"{method} {path} {version}\r\n", *(f"{n}: {v}\r\n" for n, v in kept), "\r\n"]).encode("latin-1")


def frame(opcode, payload=b"", fin=True, masked=True, reserved=0, length=None):
    """The bytes of one client frame. `length` announces another length than that of `payload`."""
    payload = payload.encode() if isinstance(payload, str) else payload
    announced = len(payload) if length is None else length
    mask_bit = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    if announced < 126:
        head += bytes([mask_bit | announced])
    elif announced < 1 << 16:
        head += bytes([mask_bit | 126]) + struct.pack(">H", announced)
    else:
        head += bytes([mask_bit | 127]) + struct.pack(">Q", announced)
    if not masked:
        return head + payload
    key = os.urandom(4)
    stream = (key * (len(payload) // 4 + 1))[: len(payload)]
    body = (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")
    return head + key + body


class Response:
    """An HTTP response: `status`, `headers` (lower-case names) and `body`."""

    def __init__(self, head, body):
        first, *lines = head.decode("latin-1").split("\r\n")
        found = re.fullmatch(r"HTTP/1\.1 (\d{3})( .*)?", first)
        assert found, f"not an HTTP/1.1 status line: {first!r}"
        self.status = int(found[1])
        self.headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.body = body


class Wire:
    """One TCP connection, from the address `source` if there is one; everything it receives is read in order."""

    def __init__(self, address, receive_buffer=None, source=None):
        host, _, port = address.rpartition(":")
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect((host, int(port)))
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Sends all of `data`."""
        self.socket.sendall(data)

    def _more(self):
        piece = self.socket.recv(65536)
        self.received += piece
        return piece

    def take(self, count):
        """Exactly `count` bytes."""
        while len(self.received) < count:
            if not self._more():
                raise EOFError(f"the peer closed after {self.received!r}")
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def response(self, head_only=False):
        """The next HTTP response, with the body that its Content-Length announces; without one where it answers HEAD."""
        while b"\r\n\r\n" not in self.received:
            if not self._more():
                raise EOFError(f"the peer closed after {self.received!r}")
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        response = Response(head, b"")
        response.body = b"" if head_only else self.take(int(response.headers.get("content-length", 0)))
        return response

    def open(self, **request):
        """Upgrades; the connection then speaks frames."""
        self.send(upgrade(**request))
        response = self.response()
        assert response.status == 101, f"{response.status} {response.body!r}"
        assert response.headers["sec-websocket-accept"] == ACCEPT, response.headers
        return self

    def frame(self):
        """The next frame as (opcode, payload); demands what RFC 6455 demands of a server's frame."""
        first, second = self.take(2)
        assert first & 0xF0 == 0x80, f"fragmented or reserved bits: {first:#x}"
        assert second & 0x80 == 0, "a server must not mask"
        length = second
        if second == 126:
            (length,) = struct.unpack(">H", self.take(2))
            assert length > 125, "length is not minimal"
        elif second == 127:
            (length,) = struct.unpack(">Q", self.take(8))
            assert length > 0xFFFF, "length is not minimal"
        return first & 0x0F, self.take(length)

    def close_code(self):
        """The code of the next close frame, past whatever comes before it."""
        while True:
            opcode, payload = self.frame()
            if opcode == CLOSE:
                return struct.unpack(">H", payload[:2])[0]

    def ended(self):
        """Demands that the peer closes now without another byte."""
        try:
            rest = self.received + self.socket.recv(65536)
        except ConnectionResetError:
            return
        assert rest == b"", f"expected the end, got {rest[:200]!r}"


def random_key():
    """A fresh Sec-WebSocket-Key."""
    return base64.b64encode(os.urandom(16)).decode()
