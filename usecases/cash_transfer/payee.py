"""Where somebody wants to be paid: modality and financial address, checked before payments ever sees them. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from sandroad.problems import InvalidRequest
from usecases.cash_transfer.programme import Programme

ADDRESS = re.compile(r"[A-Z][A-Z0-9]{1,10}:\+?[A-Za-z0-9-]{1,19}")


def read_payee(programme: Programme, given: Mapping[str, Any]) -> dict[str, str]:
    """Return ``{"modality", "address"}``; raise ``InvalidRequest`` that names the member and what would be right."""
    errors = []
    modality, address = given.get("modality"), given.get("address")
    if modality not in programme.modalities:
        known = ", ".join(sorted(programme.modalities))
        errors.append({"where": "body", "at": "/payee/modality", "what": f"is one of {known}"})
    if what := address_defect(address):
        errors.append({"where": "body", "at": "/payee/address", "what": what})
    if errors:
        raise InvalidRequest(f"{errors[0]['at']} {errors[0]['what']}", errors)
    return {"modality": str(modality), "address": str(address)}


def address_defect(address: Any) -> str:
    """Say what is wrong with a financial address; empty if it is well formed."""
    if not isinstance(address, str) or len(address) > 30 or not ADDRESS.fullmatch(address):
        return "is INSTITUTION:account, at most 30 characters, such as HARBOUR:0012345678"
    return ""
