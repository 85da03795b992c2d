"""The thread that credits late accounts when their time has come; business time that is moved forward wakes it."""

import logging
import threading

from sandroad.clock import Clock
from sandroad.storage import Database
from services.fsp.credits import Credits

log = logging.getLogger(__name__)
LONGEST_WAIT = 60.0


class LateCredits:
    """Waits for the next pending credit's time."""

    def __init__(self, database: Database, credits: Credits, clock: Clock) -> None:
        self._credits = credits
        self._clock = clock
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="late-credits", daemon=True)
        database.after_commit(self._wake.set)

    def start(self) -> None:
        """Start waiting."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for a credit that is being made."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=10)

    def _work(self) -> None:
        while not self._stopping:
            self._wake.clear()
            wait = LONGEST_WAIT
            try:
                due = self._credits.next_due()
                if due is not None:
                    wait = due - self._clock().timestamp()
                    if wait <= 0:
                        self._credits.credit_due()
                        continue
            except Exception:
                log.exception("late credits could not be made; tried again")
                wait = 1.0
            self._wake.wait(timeout=min(max(wait, 0.05), LONGEST_WAIT))
