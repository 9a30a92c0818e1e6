"""A TCP relay that delays what it carries, each way alike, and whose connections can be cut: a network between nodes and Redis.

Must never know what it carries.
"""

import asyncio
import contextlib

PIECE_BYTES = 65536


class Slow:
    """Leads to `target`; `seconds` is the delay of each way, and may be changed at any time."""

    def __init__(self, target, seconds=0.0):
        self.target, self.seconds = target, seconds
        self.ends = set()
        self.tasks = set()

    async def start(self):
        self.server = await asyncio.start_server(self.lead, "127.0.0.1", 0)
        self.address = "{}:{}".format(*self.server.sockets[0].getsockname())
        return self

    async def lead(self, near_reader, near):
        self.tasks.add(asyncio.current_task())
        try:
            await self.connect(near_reader, near)
        finally:
            self.tasks.discard(asyncio.current_task())

    async def connect(self, near_reader, near):
        host, port = self.target.rsplit(":", 1)
        try:
            far_reader, far = await asyncio.open_connection(host, int(port))
        except OSError:
            near.transport.abort()
            return
        pair = {near, far}
        self.ends |= pair
        ways = [asyncio.create_task(self.carry(*way)) for way in ((near_reader, far), (far_reader, near))]
        try:
            # Whoever comes to the end first ends both.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for end in pair:
                end.transport.abort()
            self.ends -= pair

    async def carry(self, reader, writer):
        pieces = asyncio.Queue()
        loop = asyncio.get_running_loop()

        async def deliver():
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(max(0, due - loop.time()))
                if not piece:
                    return
                writer.write(piece)
                await writer.drain()

        delivering = asyncio.create_task(deliver())
        try:
            with contextlib.suppress(OSError):
                while piece := await reader.read(PIECE_BYTES):
                    pieces.put_nowait((loop.time() + self.seconds, piece))
            # The end comes behind what was sent before.
            pieces.put_nowait((loop.time() + self.seconds, b""))
            with contextlib.suppress(OSError):
                await delivering
        finally:
            delivering.cancel()

    def cut(self):
        """Ends every connection that goes through it now."""
        for end in list(self.ends):
            end.transport.abort()

    async def close(self):
        self.server.close()
        self.cut()
        # Each ends with its connections.
        await asyncio.gather(*self.tasks, return_exceptions=True)
