"""What calls are measured against: an echo service, the same two hops as plain proxies, and a bare RPC over RabbitMQ."""

import os
import sys
import threading

import pika


def echo_service() -> object:
    """The service behind both ways: gives back what it gets. (A WSGI app for gunicorn.)"""

    def app(environ: dict, start_response: object) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])  # type: ignore[operator]
        return [body]

    return app


def proxy() -> object:
    """One hop of the baseline: a Flask proxy with a requests.Session, unsigned and unlogged; goes on to ``BENCH_NEXT``."""
    import requests
    from flask import Flask, Response, request

    app, session, further = Flask("proxy"), requests.Session(), os.environ["BENCH_NEXT"]
    session.trust_env = False
    session.mount("http://", requests.adapters.HTTPAdapter(pool_connections=4, pool_maxsize=256))

    @app.post("/<path:path>")
    def forward(path: str) -> Response:
        headers = {
            name: value
            for name, value in request.headers
            if name.lower() not in ("host", "connection", "content-length")
        }
        answer = session.post(f"{further}/{path}", data=request.get_data(), headers=headers, timeout=60)
        return Response(answer.content, answer.status_code, content_type=answer.headers["Content-Type"])

    return app


def rpc_server(url: str, queue: str) -> None:
    """A bare echo over RabbitMQ: no signature, no log."""
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.queue_declare(queue, exclusive=True)

    def answer(_channel: object, method: object, properties: pika.BasicProperties, body: bytes) -> None:
        own = pika.BasicProperties(correlation_id=properties.correlation_id)
        channel.basic_publish("", properties.reply_to, body, own)

    channel.basic_consume(queue, answer, auto_ack=True)
    print("ready", flush=True)
    channel.start_consuming()


def rpc_callers(url: str, queue: str, callers: int, seconds: float, body: bytes) -> float:
    """Return calls per second of ``callers`` outstanding requests over one connection with direct reply-to."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    count = 0
    done = threading.Event()
    properties = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="x")

    def received(*_: object) -> None:
        nonlocal count
        count += 1
        if not done.is_set():
            channel.basic_publish("", queue, body, properties)

    channel.basic_consume("amq.rabbitmq.reply-to", received, auto_ack=True)
    for _ in range(callers):
        channel.basic_publish("", queue, body, properties)
    threading.Timer(seconds, done.set).start()
    while not done.is_set():
        connection.process_data_events(time_limit=0.05)
    connection.close()
    return count / seconds


if __name__ == "__main__":
    rpc_server(sys.argv[1], sys.argv[2])
