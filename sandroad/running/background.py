"""An embedded sandbox's parent, in the foreground, or as a process of its own that reads its options from standard input."""

import json
import sys
from pathlib import Path

from sandroad.country.documents import CountryError
from sandroad.country.seeding import seed
from sandroad.country.topology import Topology
from sandroad.running.alone import alone
from sandroad.running.client import SandboxError
from sandroad.running.embedded import Options, prepare, process_folder
from sandroad.running.plan import Process, TooManyProcesses
from sandroad.running.provision import Provision, ProvisionError
from sandroad.running.settle import settle
from sandroad.running.supervisor import Supervisor


def run_supervisor(options: Options, began: float) -> None:
    """Prepare the data directory and be the parent of all processes until told to stop. ``began`` is a wall-clock time."""
    topology = Topology.read(options.country)

    def settings(process: Process) -> Path:
        return process_folder(options.data, process.member, process.name) / "settings.json"

    with alone(options.data):
        for left in ("settled.json", "progress.json", "pids.json"):
            (options.data / left).unlink(missing_ok=True)
        plan = prepare(options, topology, Provision(options.amqp, options.database, options.data))
        Supervisor(options.data, plan, settings, lambda: settle(options.data, options.population, began, seed)).run()


def main() -> None:
    """Read the options and run; a known failure is one line, which `up` shows."""
    asked = json.load(sys.stdin)
    given = asked["options"]
    options = Options(**{**given, "data": Path(given["data"]), "country": Path(given["country"])})
    try:
        run_supervisor(options, float(asked["began"]))
    except (SandboxError, ProvisionError, CountryError, TooManyProcesses) as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
