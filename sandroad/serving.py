"""From settings to a serving process: one waitress server, background work started after the fork, an orderly end on SIGTERM."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import waitress
from flask import Flask
from waitress.wasyncore import dispatcher

from sandroad.settings import AppConfig, read_config
from sandroad.web import running

Run = Callable[[Mapping[str, Any]], None]


def serving(create_app: Callable[[Any], Flask], config_kind: type[AppConfig]) -> Run:
    """Return ``run(mapping)``: read the settings, make the app, serve until SIGTERM or SIGINT."""

    def run(mapping: Mapping[str, Any]) -> None:
        config = read_config(config_kind, mapping)
        Path(config.data).mkdir(parents=True, exist_ok=True)
        serve_until_signal(create_app(config), config)

    return run


def server_of(app: Flask, host: str, port: int, threads: int) -> Any:
    """Return the server of ``app``.

    It spools a body to the disk before the app sees who calls, so it ends what is far over the app's limit by itself; what is
    little over it reaches the app, whose refusal says more.
    """
    limit = app.config["MAX_CONTENT_LENGTH"] or 16 * 1024 * 1024
    return waitress.create_server(
        app, host=host, port=port, threads=threads, ident=None, clear_untrusted_proxy_headers=True,
        channel_timeout=120, max_request_body_size=2 * limit + 65_536, backlog=512,
        asyncore_use_poll=True,
    )  # fmt: skip


def serve_until_signal(app: Flask, config: AppConfig) -> None:
    """Serve ``app`` on the configured address until the process is asked to end."""
    server = server_of(app, config.host, config.port, config.threads)
    state = running(app)
    state.start()

    def end(_signal: int, _frame: Any) -> None:
        threading.Thread(target=end_serving, args=[server], daemon=True).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    logging.getLogger(__name__).info("%s serves on port %d", config.name, config.port)
    try:
        server.run()
    except OSError:
        logging.getLogger(__name__).debug("the listening socket was closed")
    finally:
        state.stop()


def end_serving(server: Any, patience: float = 5.0) -> None:
    """Accept no more connections and close those that are idle; waitress alone would wait for every kept-alive one.

    A request under way has ``patience`` seconds to be answered. Everything happens in the server's own loop, which is woken for
    it: closing its sockets from this thread would let the loop die with connections open, or sleep on for a second.
    """
    ended = threading.Event()

    def stop_accepting() -> None:
        dispatcher.close(server)
        close_idle()

    def close_idle() -> None:
        for channel in list(server.active_channels.values()):
            if channel.requests:
                channel.close_when_flushed = True
            else:
                channel.handle_close()

    def end() -> None:
        for channel in list(server.active_channels.values()):
            channel.handle_close()
        server.trigger.del_channel()  # the loop has nothing left and ends; only then may the pipe that wakes it be closed
        ended.set()

    server.trigger.pull_trigger(stop_accepting)
    deadline = time.monotonic() + patience
    while server.active_channels and time.monotonic() < deadline:
        time.sleep(0.02)
        server.trigger.pull_trigger(close_idle)
    server.trigger.pull_trigger(end)
    ended.wait(patience)
    server.trigger.close()
