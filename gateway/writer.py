"""One writer per process: whatever is to be written queues here, and many writes share one commit (group commit).

A write is a function of the open batch; it reads and writes through the batch's connection and must not wait for
anything else. Its future is resolved after the commit, so that whoever awaited it may tell others. If a batch fails,
its writes are tried one by one: a defective one fails alone.
"""

import asyncio
import collections
import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.log import Batch, MessageLog
from sandroad.problems import Error

log = logging.getLogger(__name__)
T = TypeVar("T")
Write = Callable[[Batch], Any]

MOST_IN_A_BATCH = 512
LATE_SECONDS = 0.25


class WriterStopped(Error):
    """The gateway is stopping: nothing more is written."""


@dataclass(slots=True)
class _Waiting:
    write: Write
    future: "asyncio.Future[Any] | None"
    result: Any = None
    failure: Exception | None = None


class Writer:
    """The thread that owns the message log's chain. ``start`` in the process and loop that use it."""

    def __init__(self, message_log: MessageLog) -> None:
        self._log = message_log
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._late: collections.deque[_Waiting] = collections.deque()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def start(self) -> None:
        """Start the thread; results are delivered to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    async def write(self, write: Callable[[Batch], T]) -> T:
        """Run ``write`` in the next batch; return its result after the commit, or raise what it raised."""
        if self._loop is None or self._stopped:
            raise WriterStopped("the writer is not running")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Waiting(write, future))
        return await future

    def write_late(self, write: Write) -> None:
        """Run ``write`` with the next batch, or within a quarter of a second; lost if the process is killed before."""
        self._late.append(_Waiting(write, None))

    async def flush(self) -> None:
        """Return when everything handed over before is committed."""
        await self.write(lambda _batch: None)

    async def stop(self) -> None:
        """Commit what is queued, then end the thread."""
        if self._thread is None or self._stopped:
            return
        self._stopped = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        going = True
        while going:
            batch, going = self._next()
            while self._late:
                batch.append(self._late.popleft())
            if batch:
                self._commit(batch)
                self._loop_call(batch)

    def _next(self) -> tuple[list[_Waiting], bool]:
        """Wait for work; return it, and whether to go on."""
        batch: list[_Waiting] = []
        try:
            waiting = self._queue.get(timeout=LATE_SECONDS)
            while waiting is not None:
                batch.append(waiting)
                if len(batch) >= MOST_IN_A_BATCH:
                    return batch, True
                waiting = self._queue.get_nowait()
        except queue.Empty:
            return batch, True
        return batch, False

    def _commit(self, batch: list[_Waiting]) -> None:
        try:
            self._run_together(batch)
        except Exception:
            if len(batch) == 1:
                log.exception("a write failed")
            for waiting in batch:
                self._run_alone(waiting)

    def _run_together(self, batch: list[_Waiting]) -> None:
        with self._log.batch() as open_batch:
            for waiting in batch:
                waiting.result = waiting.write(open_batch)

    def _run_alone(self, waiting: _Waiting) -> None:
        try:
            self._run_together([waiting])
        except Exception as failure:
            waiting.failure = failure
            if waiting.future is None:
                log.exception("a late write failed")

    def _loop_call(self, batch: list[_Waiting]) -> None:
        """Resolve all futures of a batch with one call into the loop."""
        awaited = [waiting for waiting in batch if waiting.future is not None]
        if awaited and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                self._loop.call_soon_threadsafe(_resolve, awaited)


def _resolve(batch: list[_Waiting]) -> None:
    for waiting in batch:
        future = waiting.future
        if future is None or future.done():
            continue
        if waiting.failure is not None:
            future.set_exception(waiting.failure)
        else:
            future.set_result(waiting.result)
