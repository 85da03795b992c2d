"""Callbacks to sources: through the own gateway, or to an absolute address that the allow-list names."""

from collections.abc import Mapping
from typing import Any

import requests

from sandroad.gateway_client import DEFAULT_TIMEOUT, GatewayClient, GatewayUnreachable, Reply


class CallingBack(GatewayClient):
    """The gateway client that also reaches allow-listed absolute addresses, without any X-Road header or secret."""

    def send(
        self,
        method: str,
        target: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Reply:
        """Send to a ``/r1/…`` target, or to an absolute address; only checked addresses are ever written down."""
        if target.startswith("/"):
            return super().send(method, target, json=json, content=content, headers=headers, timeout=timeout)
        try:
            answer = requests.request(
                method,
                target,
                data=content,
                headers=dict(headers or {}),
                timeout=min(timeout, 20),
                allow_redirects=False,
            )
        except requests.RequestException as defect:
            raise GatewayUnreachable(f"the callback address gave no answer: {type(defect).__name__}") from defect
        return Reply(answer.status_code, answer.headers, answer.content)
