"""What travelled between organisations: the gateways' own records, with the titles that the ministry's trace gives them."""

import time
from dataclasses import dataclass
from typing import Any

from usecases.cash_transfer.scenario.places import Places

MOST = 10_000
WORDS: dict[tuple[str | int, ...], str] = {
    ("identity", ""): "Whose functional id is this?",
    ("consent", ""): "Has this person agreed?",
    ("fsp", "POST"): "Look up accounts, or set money aside for them",
    ("fsp", "POST", 202): "Credit accounts",
    ("fsp", "PUT"): "Give back what could not be paid",
    ("payments", ""): "Report what was credited",
    ("cash_transfer", ""): "Report a result to the programme",
}


@dataclass(frozen=True)
class Exchange:
    """One exchange as the consumer's gateway recorded it; ``number`` counts from the story's beginning."""

    number: int
    step: str
    title: str
    consumer: str
    provider: str
    service: str
    method: str
    message_id: str
    request_id: str
    status: int
    milliseconds: int
    fault: str
    gateway: str

    @property
    def shown(self) -> dict[str, Any]:
        """The exchange as the result tells it."""
        return {
            "number": self.number,
            "step": self.step,
            "title": self.title,
            "from": self.consumer,
            "to": self.provider,
            "service": self.service,
            "message_id": self.message_id,
            "request_id": self.request_id,
            "status": self.status,
            "ms": self.milliseconds,
            "fault": self.fault,
        }


class Watch:
    """Collects exchanges from the moment it was made; each is told once."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._since = int(time.time() * 1000)
        self._seen: set[str] = set()
        self._titles: dict[str, tuple[str, str]] = {}
        self._position = self._newest_position()
        self.exchanges: list[Exchange] = []

    def collect(self, step: str) -> list[Exchange]:
        """Return the exchanges that are new, in the order in which they began; ``step`` is theirs unless the trace knows."""
        self._read_trace()
        found: list[tuple[int, dict[str, Any], str]] = []
        for gateway in self._places.sandbox.gateways():
            steward = self._places.sandbox.steward(gateway.name)
            for record in steward.get(f"/-/records?since={self._since}&limit={MOST}")["records"]:
                request_id = str(record.get("xRequestId", ""))
                if record.get("securityServerType") != "Client" or not request_id or request_id in self._seen:
                    continue
                self._seen.add(request_id)
                found.append((int(record["requestInTs"]), record, gateway.name))
        found.sort(key=lambda each: each[0])
        first = len(self.exchanges) + 1
        new = [self._exchange(first + place, record, step, name) for place, (_, record, name) in enumerate(found)]
        self.exchanges += new
        return new

    def _exchange(self, number: int, record: dict[str, Any], step: str, gateway: str) -> Exchange:
        consumer = "/".join(str(record.get(f"client{part}", "")) for part in _PARTS).rstrip("/")
        provider = "/".join(str(record.get(f"service{part}", "")) for part in _PARTS).rstrip("/")
        message_id = str(record.get("messageId", ""))
        service, method = f"{provider}/{record.get('serviceCode', '')}", str(record.get("restMethod", ""))
        status = int(record.get("statusCode") or 0)
        step, title = self._titles.get(message_id, (step, self._words(consumer, service, method, status)))
        return Exchange(
            number=number,
            step=step,
            title=title,
            consumer=consumer,
            provider=provider,
            service=service,
            method=method,
            message_id=message_id,
            request_id=str(record["xRequestId"]),
            status=status,
            milliseconds=int(record.get("responseOutTs", 0)) - int(record.get("requestInTs", 0)),
            fault=str(record.get("faultCode", "")),
            gateway=gateway,
        )

    def _words(self, consumer: str, service: str, method: str, status: int) -> str:
        """Return in plain words what others say to each other; records hold no paths, so the contract has to tell."""
        contract = self._places.contract_of(service)
        if contract == "messaging":
            return "Send a text message" if consumer == self._places.client else "Send a one-time code"
        known: tuple[tuple[str | int, ...], ...] = ((contract, method, status), (contract, method), (contract, ""))
        said = next((WORDS[each] for each in known if each in WORDS), "")
        return said or f"{method} {service.rsplit('/', 1)[-1]}"

    def _read_trace(self) -> None:
        while lines := self._trace(self._position):
            for line in lines:
                self._position = int(line["position"])
                if line["message_id"]:
                    self._titles[str(line["message_id"])] = (str(line["step"]), str(line["title"]))

    def _newest_position(self) -> int:
        position = 0
        while lines := self._trace(position):
            position = int(lines[-1]["position"])
        return position

    def _trace(self, since: int) -> list[dict[str, Any]]:
        steward = self._places.sandbox.steward(self._places.ministry.name)
        return list(steward.get(f"/-/trace?since={since}")["lines"])


_PARTS = ("XRoadInstance", "MemberClass", "MemberCode", "SubsystemCode")
