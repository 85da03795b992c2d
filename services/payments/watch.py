"""The watch: asks for what has not been told for long. It concludes nothing itself; answers are applied like callbacks."""

import logging
import threading
import time
from typing import Any

from sqlalchemy import and_, func, or_, select, update

from sandroad.outbox import Outbox
from sandroad.storage import Database
from services.payments.config import Config
from services.payments.execution import Execution
from services.payments.tables import batches, sub_batches
from services.payments.validations import Validations

log = logging.getLogger(__name__)


class Watch:
    """Looks around every ``watch_every`` seconds."""

    def __init__(
        self, config: Config, database: Database, outbox: Outbox, execution: Execution, validations: Validations
    ) -> None:
        self._config = config
        self._database = database
        self._outbox = outbox
        self._execution = execution
        self._validations = validations
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for a look that is under way."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def look(self) -> None:
        """End overdue validations, ask institutions for results and the paying bank for decisions."""
        self._validations.end_overdue()
        self._ask_for_results()
        self._ask_the_paying_bank()

    def _work(self) -> None:
        while not self._stopping.wait(self._config.watch_every):
            try:
                self.look()
            except Exception:
                log.exception("the watch could not look; it looks again")

    def _limits(self) -> tuple[float, float]:
        """Return since when silence is long, and since when nothing that was sent before can arrive any more."""
        now, patience = time.time(), self._config.poll_after
        return now - patience, now - max(patience, self._config.longest_call)

    def _ask_for_results(self) -> None:
        table, (limit, later) = self._outbox.table, self._limits()
        # While a question waits for the institution, another one would only stand behind it.
        asked = select(table.c.id).where(table.c.key == "poll-" + sub_batches.c.id, table.c.state == "waiting").exists()
        taken = and_(sub_batches.c.state == "taken", sub_batches.c.heard < limit)
        refused = and_(sub_batches.c.state == "refused", sub_batches.c.heard < later)
        silent = select(sub_batches).where(or_(taken, refused), ~asked)
        with self._database.read() as connection:
            if connection.execute(silent.limit(1)).first() is None:
                return
        with self._database.begin() as connection:
            for row in connection.execute(silent).mappings().all():
                polls = row["polls"] + 1
                values = {"polls": polls, "heard": time.time()}
                connection.execute(update(sub_batches).where(sub_batches.c.id == row["id"]).values(values))
                self._outbox.put(
                    connection,
                    id=f"poll-{row['id']}-{polls}",
                    key=f"poll-{row['id']}",
                    kind="poll",
                    method="GET",
                    target=f"/r1/{row['service']}/sub-batches/{row['id']}",
                )

    def _ask_the_paying_bank(self) -> None:
        """Batches that wait for the bank without a waiting call: the call was refused or given up."""
        table, (limit, later) = self._outbox.table, self._limits()

        def idle_since(moment: float) -> Any:
            busy = or_(table.c.state == "waiting", table.c.due > moment)
            return ~select(table.c.id).where(table.c.key == "funds-" + batches.c.id, busy).exists()

        undecided = and_(batches.c.state == "authorising", idle_since(later))
        unreturned = and_(batches.c.state == "returning", idle_since(limit))
        forgotten = select(batches).where(or_(undecided, unreturned))
        with self._database.read() as connection:
            if connection.execute(select(func.count()).select_from(forgotten.subquery())).scalar_one() == 0:
                return
        with self._database.begin() as connection:
            for row in connection.execute(forgotten).mappings().all():
                self._execution.ask_again(connection, row)
