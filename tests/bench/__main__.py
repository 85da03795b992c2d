"""``scripts/bench``: start and memory, signature, calls, payments."""

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sandroad.cli.inspect import sandbox_status
from sandroad.running.client import Sandbox
from tests.bench import calls, payments, signature
from tests.bench.network import scratch
from tests.servers import free_block

PARTS = ("start", "signature", "calls", "payments")
SANDROAD = [sys.executable, "-m", "sandroad"]


def say(line: str) -> None:
    print(line, flush=True)


@contextlib.contextmanager
def sandbox(folder: Path) -> Iterator[Sandbox]:
    """A whole embedded sandbox."""
    data = folder / "sandbox"
    subprocess.run([*SANDROAD, "up", "--data", str(data), "--base-port", str(free_block())], check=True)
    try:
        yield Sandbox(data)
    finally:
        subprocess.run([*SANDROAD, "down", "--data", str(data)], check=False, capture_output=True)


def main(words: list[str]) -> None:
    """Run the parts that were asked for, all by default."""
    quick = "--quick" in words
    asked = [word for word in words if word != "--quick"] or list(PARTS)
    if unknown := set(asked) - set(PARTS):
        raise SystemExit(f"scripts/bench: no part {', '.join(unknown)}; there are: {', '.join(PARTS)}, and --quick")
    system = f"{platform.system()} {platform.release()}"
    say(f"machine: {_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {system}")
    if "signature" in asked:
        signature.measure(say, rounds=20 if quick else 200)
    if "calls" in asked:
        calls.measure(say, seconds=2 if quick else 5, rounds=1 if quick else 3)
    if "start" in asked or "payments" in asked:
        with scratch() as folder, sandbox(folder) as running:
            if "start" in asked:
                found = sandbox_status(running)
                memory = sum(p["pss_mb"] or 0 for p in found["processes"]) + (found["supervisor_pss_mb"] or 0)
                say(
                    f"start until healthy, 2,000 persons brought in: {found['ready_seconds']} s; {len(found['processes'])} processes"
                )
                say(f"memory of all processes: {memory:.0f} MB (PSS)")
            if "payments" in asked:
                payments.measure(say, running, (1_000,) if quick else (1_000, 10_000))


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main(sys.argv[1:])
