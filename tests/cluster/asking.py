"""HTTP over asyncio: one connection that is kept, and a pool of them for one address.

Must never know roost's messages.
"""

import asyncio
import contextlib
import json

from wire import Response

CONNECT_SECONDS = 5
ANSWER_SECONDS = 30
# What may go wrong with a connection whose peer dies, is stopped, or is not there.
LOST = (OSError, EOFError, asyncio.TimeoutError)


class Line:
    """One TCP connection. Ends with its `async with`, without a word."""

    def __init__(self, address):
        self.address = address

    async def __aenter__(self):
        host, port = self.address.rsplit(":", 1)
        async with asyncio.timeout(CONNECT_SECONDS):
            self.reader, self.writer = await asyncio.open_connection(host, int(port))
        return self

    async def __aexit__(self, *_):
        self.close()

    def close(self):
        # Aborted: what is still to be written need not arrive.
        self.writer.transport.abort()

    def send(self, data):
        self.writer.write(data)

    async def head(self):
        """The head of the next response; its body, where it has a length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        response = Response(head[:-4], b"")
        if length := int(response.headers.get("content-length", 0)):
            response.body = await self.reader.readexactly(length)
        return response

    async def ask(self, method, path, headers=(), body=b""):
        """One request and its response."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.address}", *headers]
        if body or method == "POST":
            lines += [f"Content-Length: {len(body)}"]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)
        return await self.head()


class Pool:
    """Connections to an address that are used again."""

    def __init__(self, address):
        self.address = address
        self.free = []

    async def ask(self, method, path, value=None, seconds=ANSWER_SECONDS):
        """A request with a JSON body, if any: status and JSON value, or text, of the response."""
        body = b"" if value is None else json.dumps(value).encode()
        line = self.free.pop() if self.free else await Line(self.address).__aenter__()
        try:
            headers = ["Content-Type: application/json"] if body else []
            async with asyncio.timeout(seconds):
                response = await line.ask(method, path, headers, body)
        except BaseException:
            line.close()
            raise
        if response.headers.get("connection", "").lower() == "close":
            line.close()
        else:
            self.free.append(line)
        is_json = response.headers.get("content-type", "").startswith("application/json")
        return response.status, json.loads(response.body) if is_json else response.body.decode()

    def close(self):
        for line in self.free:
            with contextlib.suppress(RuntimeError):
                line.close()
        self.free.clear()
