"""A stranger's first minutes: a fresh clone, the README's commands as they stand there, and the same without any network."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandroad.testing import ROOT
from tests.servers import free_block

pytestmark = pytest.mark.timeout(900)
# What is run elsewhere: the clone is the fixture, the test command is this run, containers have a test of their own.
ELSEWHERE = ("git clone", "scripts/test", "scripts/bench", "docker compose")


def commands() -> list[str]:
    """Return the README's shell commands in their order, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.M | re.S)
    lines = [re.sub(r"\s+#.*$", "", line).strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(ELSEWHERE)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What is committed, and nothing else: no environment, no data."""
    folder = tmp_path_factory.mktemp("clone") / "sandroad"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    yield folder
    if (folder / ".venv/bin/sandroad").exists():
        subprocess.run([".venv/bin/sandroad", "down"], cwd=folder, capture_output=True, env=surroundings())
    shutil.rmtree(folder, ignore_errors=True)


def surroundings() -> dict[str, str]:
    """The environment of a stranger: nothing of this test run in it."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("SANDROAD_", "PYTHON", "VIRTUAL_ENV"))
    }
    return kept | {"PATH": os.environ["PATH"].replace(f"{ROOT}/.venv/bin:", "")}


def run(clone: Path, *command: str) -> str:
    """Run a command in the clone; a failure fails the test with all that was said."""
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, env=surroundings(), timeout=600)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-5000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def test_the_readmes_commands_do_what_it_says(clone: Path) -> None:
    assert commands()[0] == "scripts/demo"
    said = run(clone, "scripts/demo")
    for word in ("== Outreach", "== Payment", "refused as it must be", "Everything adds up", "verify offline"):
        assert word in said
    assert list((clone / ".sandroad" / "evidence").rglob("*.asice"))
    assert not (clone / ".sandroad" / "pids.json").exists()
    for command in commands()[1:]:
        run(clone, "sh", "-c", command)


def test_with_a_bundle_the_demo_needs_no_network(clone: Path) -> None:
    run(clone, "scripts/bundle")
    shutil.rmtree(clone / ".venv")
    offline = f"ip link set lo up && scripts/demo --data .sandroad-offline --base-port {free_block()}"
    said = run(clone, "unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net", "sh", "-c", offline)
    assert "without the network" in said
    assert "Everything adds up" in said
