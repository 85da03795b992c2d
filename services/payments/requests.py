"""Requests that came before: the same again has its first answer, another content under the same id is refused."""

import hashlib
import json
from typing import Any

from sqlalchemy import Connection, insert, select

from sandroad.problems import IdempotencyConflict
from services.payments.tables import requests

Answer = tuple[dict[str, Any], int]  # body and HTTP status


def digest(*content: Any) -> str:
    """Return a digest of JSON values, the same for the same values in any order of members."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def first_answer(connection: Connection, client: str, operation: str, request_id: str, content: str) -> Answer | None:
    """Return the first answer to this request, None if it is new; raise ``IdempotencyConflict`` on another content."""
    known = connection.execute(
        select(requests.c.content, requests.c.status, requests.c.answer).where(
            requests.c.client == client, requests.c.operation == operation, requests.c.request_id == request_id
        )
    ).first()
    if known is None:
        return None
    if known.content != content:
        raise IdempotencyConflict(f"request {request_id} came before with another content")
    return json.loads(known.answer), known.status


def keep_answer(
    connection: Connection, client: str, operation: str, request_id: str, content: str, answer: Answer
) -> Answer:
    """Keep the answer in the transaction that caused it, and return it."""
    body, status = answer
    connection.execute(
        insert(requests).values(
            client=client,
            operation=operation,
            request_id=request_id,
            content=content,
            status=status,
            answer=json.dumps(body),
        )
    )
    return answer
