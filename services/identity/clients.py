"""Neighbours of identity: messaging, spoken to through the own gateway."""

import logging

from sandroad.gateway_client import GatewayClient, GatewayUnreachable
from services.identity.domain import CodeNotSent, Individual

log = logging.getLogger(__name__)
TIMEOUT = 20.0


class Messaging:
    """GovStack Messaging, single messages. What is written in them is never logged: it contains one-time codes."""

    def __init__(self, gateway: GatewayClient, service: str, organisation: str) -> None:
        self._gateway = gateway
        self._service = service
        self._organisation = organisation

    def send_code(self, individual: Individual, code: str, relying_party: str, minutes: int) -> None:
        """Send a one-time code to the person's phone, by e-mail without one; raise ``CodeNotSent``."""
        text = f"{code} is your code to sign in to {relying_party}. It works for {minutes} minutes. Tell it to nobody."
        sender = {"organisationName": self._organisation}
        phone, email = individual.claims.get("phone_number"), individual.claims.get("email")
        if phone:
            recipient = {"phone": phone, "name": individual.name}
            body = {"senderInfo": sender, "recipientInfo": recipient, "smsContent": {"content": text}}
            path = "/send/sms/single"
        elif email:
            recipient = {"email": email, "name": individual.name}
            content = {"title": "Your code to sign in", "content": text}
            body = {"senderInfo": sender, "recipientInfo": recipient, "emailContent": content}
            path = "/send/email/single"
        else:
            log.info("a person without phone and e-mail tried to sign in")
            return
        try:
            reply = self._gateway.call(self._service, "POST", path, json=body, timeout=TIMEOUT)
        except GatewayUnreachable as defect:
            raise CodeNotSent("the own gateway gave no answer") from defect
        if not reply.ok:
            log.warning("messaging refused a one-time code: %s", reply.gateway_error or reply.status)
            raise CodeNotSent("messaging did not take the message")
