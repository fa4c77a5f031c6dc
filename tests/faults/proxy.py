"""A TCP proxy that can be slow, dead, deaf or dumb, as networks are. It lives in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from tests.faults.damage import Conversation, Damage

CHUNK_BYTES = 64 * 1024
CHUNKS = 64
"""As many wait in either direction of a connection; then the sender has to."""
Turn = Callable[[bytes], bytes]
"""What a chunk becomes on its way."""


class Proxy:
    """Forwards from `port` to `target`. Whatever harm is done lasts until `heal`.

    With `damage` it speaks Kafka's protocol, and messages arrive as that says.
    """

    def __init__(self, port: int, target: int, damage: Damage | None = None) -> None:
        self._port = port
        self._target = target
        self._damage = damage
        self._latency_seconds = 0.0
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._call(self._begin())

    def _call(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result()

    async def _begin(self) -> None:
        self._requests_pass, self._answers_pass = asyncio.Event(), asyncio.Event()
        self._requests_pass.set()
        self._answers_pass.set()
        await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)

    # -- harm -----------------------------------------------------------------------------------------------------

    def be_slow(self, seconds: float) -> None:
        """Everything takes this long, in either direction."""
        self._latency_seconds = seconds

    def cut(self) -> None:
        """Connections are closed, and new ones refused."""

        async def cut() -> None:
            self._server.close()
            for connection in self._connections:
                connection.cancel()

        self._call(cut())

    def swallow(self, *, requests: bool, answers: bool) -> None:
        """Connections stay open, and nothing comes through any more in these directions."""

        async def swallow() -> None:
            if requests:
                self._requests_pass.clear()
            if answers:
                self._answers_pass.clear()

        self._call(swallow())

    def aim(self, target: int) -> None:
        """Forward to another server from now on; connections to the one before are closed."""

        async def aim() -> None:
            self._target = target
            for connection in self._connections:
                connection.cancel()

        if target != self._target:
            self._call(aim())

    def heal(self) -> None:
        """Forward everything again, what was swallowed first."""

        async def heal() -> None:
            self._latency_seconds = 0.0
            self._requests_pass.set()
            self._answers_pass.set()
            if not self._server.is_serving():
                await self._listen()

        self._call(heal())

    def close(self) -> None:
        """Give the port back."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)

    # -- forwarding -----------------------------------------------------------------------------------------------

    async def _accept(self, client_reads: asyncio.StreamReader, client_writes: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writers = [client_writes]
        try:
            server_reads, server_writes = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(server_writes)
            ask, answer = self._turns()
            ways = (
                asyncio.create_task(self._forward(client_reads, server_writes, self._requests_pass, ask)),
                asyncio.create_task(self._forward(server_reads, client_writes, self._answers_pass, answer)),
            )
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            for writer in writers:
                writer.transport.abort()

    def _turns(self) -> tuple[Turn, Turn]:
        """Of one connection, of what is asked and what is answered."""
        if self._damage is None:
            return bytes, bytes
        conversation = Conversation(self._damage)
        return conversation.ask, conversation.answer

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event, turn: Turn
    ) -> None:
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS)
        reading = asyncio.create_task(self._read(reader, chunks))
        with contextlib.suppress(OSError):
            try:
                while True:
                    due, chunk = await chunks.get()
                    await asyncio.sleep(max(0.0, due - self._loop.time()))
                    await passes.wait()
                    if not chunk:
                        return
                    writer.write(turn(chunk))
                    await writer.drain()
            finally:
                reading.cancel()

    async def _read(self, reader: asyncio.StreamReader, chunks: asyncio.Queue[tuple[float, bytes]]) -> None:
        """The last chunk is empty."""
        chunk = b"more to come"
        while chunk:
            try:
                chunk = await reader.read(CHUNK_BYTES)
            except OSError:
                chunk = b""
            await chunks.put((self._loop.time() + self._latency_seconds, chunk))
