"""The contract's part ``/audit``: for auditors; nothing here changes anything."""

from typing import Any

from flask import jsonify

from sandroad.contracts import Routes, parameters
from sandroad.web import resource
from services.consent.domain import DataAgreementUnknown
from services.consent.routes.service import agreements_answer, records_answer
from services.consent.shapes import Shapes
from services.consent.store import ConsentStore
from services.consent.verification import Verification


def bind(routes: Routes) -> None:
    """Bind the operations."""

    @routes.operation("auditConsentRecordList")
    def audit_records() -> Any:
        """List records."""
        asked = parameters()
        return records_answer(
            agreement_id=asked.get("dataAgreementId", ""), individual_id=asked.get("individualId", "")
        )

    @routes.operation("auditConsentRecordRead")
    def audit_record(consent_record_id: str) -> Any:
        """Read a record."""
        record, _ = resource(Verification).record(consent_record_id)
        with resource(ConsentStore).database.read() as connection:
            return jsonify(consentRecord=resource(Shapes).record(connection, record))

    @routes.operation("auditDataAgreementList")
    def audit_data_agreements() -> Any:
        """List agreements, terminated ones too."""
        return agreements_answer(only_active=False)

    @routes.operation("auditDataAgreementRead")
    def audit_data_agreement(data_agreement_id: str) -> Any:
        """Read an agreement, terminated or not."""
        store = resource(ConsentStore)
        with store.database.read() as connection:
            agreement = store.agreement(connection, data_agreement_id)
            if agreement is None:
                raise DataAgreementUnknown(f"there is no data agreement {data_agreement_id[:100]}")
            return jsonify(dataAgreement=resource(Shapes).agreement(connection, agreement))
