"""One process: what a settings file describes, served until SIGTERM."""

import importlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

from sandroad.running.plan import Process
from sandroad.running.secrets import write_private


def write_settings(path: Path, process: Process) -> None:
    """Write a process's settings file, readable by its owner only: ``{"run": "module:function", "settings": {…}}``."""
    write_private(path, json.dumps({"run": process.run, "settings": dict(process.settings)}, indent=1))


def serve_one(path: Path) -> None:
    """Log to standard error and serve what the file describes."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, force=True, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for noisy in ("waitress", "pika", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    module, name = described["run"].split(":")
    getattr(importlib.import_module(module), name)(described["settings"])
