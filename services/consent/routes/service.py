"""The contract's part ``/service``: for programmes (individuals, records, signatures) and providers (verification)."""

from typing import Any

from flask import jsonify

from sandroad.callers import caller
from sandroad.contracts import Routes, body, parameters
from sandroad.web import resource
from services.consent.agreements import Configuration
from services.consent.domain import Record
from services.consent.records import Records
from services.consent.revisions import Revision
from services.consent.routes.configuration import agreement_answer
from services.consent.routes.requests import individual_id, page
from services.consent.shapes import Shapes, revision_shape
from services.consent.signatures import as_contract
from services.consent.store import ConsentStore
from services.consent.verification import Verification


def bind(routes: Routes) -> None:
    """Bind the operations."""
    _bind_individuals(routes)
    _bind_records(routes)
    _bind_signing(routes)
    _bind_verification(routes)


def _bind_individuals(routes: Routes) -> None:
    @routes.operation("serviceIndividualCreate")
    def create_individual() -> Any:
        """Bind a person to the consent service."""
        return jsonify(individual=resource(Configuration).create_individual(caller(), body()["individual"]))

    @routes.operation("serviceIndividualRead")
    def read_individual(individual_id: str) -> Any:
        """Read an individual."""
        return jsonify(individual=resource(Configuration).read_individual(caller(), individual_id))

    @routes.operation("serviceIndividualUpdate")
    def update_individual(individual_id: str) -> Any:
        """Replace an individual's values."""
        return jsonify(
            individual=resource(Configuration).update_individual(caller(), individual_id, body()["individual"])
        )

    @routes.operation("serviceIndividualList")
    def list_individuals() -> Any:
        """List individuals."""
        return jsonify(individuals=resource(Configuration).list_individuals(caller(), *page()))

    @routes.operation("serviceDataAgreementRead")
    def read_data_agreement(data_agreement_id: str) -> Any:
        """Read a data agreement with its latest revision."""
        return agreement_answer(*resource(Configuration).read_agreement(data_agreement_id))

    @routes.operation("servicePolicyRead")
    def read_policy(policy_id: str) -> Any:
        """Read a policy."""
        policy, revision = resource(Configuration).read_policy(policy_id, parameters().get("revisionId", ""))
        return jsonify(policy=resource(Shapes).policy(policy), revision=revision_shape(revision))


def _bind_records(routes: Routes) -> None:
    @routes.operation("serviceIndividualConsentRecordCreate")
    def create_record(data_agreement_id: str) -> Any:
        """Make an unsigned record."""
        revision_id = parameters().get("revisionId", "")
        record, revision = resource(Records).create(caller().client, data_agreement_id, individual_id(), revision_id)
        return jsonify(consentRecord=_shown(record), revision=revision_shape(revision))

    @routes.operation("serviceIndividualConsentRecordRead")
    def read_record(data_agreement_id: str) -> Any:
        """What did the person answer to this agreement?"""
        resource(Verification).require_managed(caller(), data_agreement_id)
        return jsonify(consentRecord=_shown(resource(Records).current(data_agreement_id, individual_id())))

    @routes.operation("serviceIndividualConsentRecordList")
    def list_records() -> Any:
        """List the person's current records."""
        return _managed(is_current=True, individual_id=individual_id())

    @routes.operation("serviceIndividualDataAgreementConsentRecordList")
    def list_records_of_agreement(data_agreement_id: str) -> Any:
        """List all records of the person for an agreement, superseded ones too."""
        resource(Verification).require_managed(caller(), data_agreement_id)
        return _managed(agreement_id=data_agreement_id, individual_id=individual_id())

    @routes.operation("serviceIndividualConsentRecordUpdate")
    def update_record(consent_record_id: str) -> Any:
        """Opt in or out; the signature does not cover the new revision."""
        opt_in = body()["consentRecord"]["optIn"]
        record, revision = resource(Records).update(caller().client, consent_record_id, individual_id(), opt_in)
        return jsonify(consentRecord=_shown(record), revision=revision_shape(revision))

    @routes.operation("serviceIndividualConsentRecordDeleteAll")
    def delete_records() -> Any:
        """Forget what need not be kept."""
        resource(Records).forget(caller().client, individual_id())
        return "", 200


def _bind_signing(routes: Routes) -> None:
    @routes.operation("serviceIndividualConsentRecordDraftCreate")
    def draft_record() -> Any:
        """Draft a record and a signature; nothing is stored."""
        asked = parameters()
        record, signature = resource(Records).draft(
            caller().client, asked["dataAgreementId"], individual_id(), asked.get("revisionId", "")
        )
        return jsonify(consentRecord=_shown(record), signature=as_contract(signature))

    @routes.operation("serviceIndividualConsentRecordSignatureCreate")
    def create_record_and_signature() -> Any:
        """Store a drafted record with its signature."""
        given = body()
        record, revision, signature = resource(Records).create_from_draft(
            caller().client, given["consentRecord"], given["signature"]
        )
        return jsonify(
            consentRecord=_shown(record), revision=revision_shape(revision), signature=as_contract(signature)
        )

    @routes.operation("serviceIndividualSignatureCreate")
    def create_signature(consent_record_id: str) -> Any:
        """Prepare a signature of the record's current revision."""
        signature = resource(Records).prepare_signature(caller().client, consent_record_id, individual_id())
        return jsonify(signature=as_contract(signature))

    @routes.operation("serviceIndividualSignatureUpdate")
    def add_signature(consent_record_id: str) -> Any:
        """Sign the record's current revision."""
        _, signature = resource(Records).add_signature(
            caller().client, consent_record_id, individual_id(), body()["signature"]
        )
        return jsonify(signature=as_contract(signature))


def _bind_verification(routes: Routes) -> None:
    @routes.operation("serviceVerificationDataAgreementList")
    def list_verifiable_agreements() -> Any:
        """List the agreements that can be verified."""
        return agreements_answer(only_active=True)

    @routes.operation("serviceVerificationConsentRecordList")
    def verify_records() -> Any:
        """Does consent exist now?"""
        asked = parameters()
        found = resource(Verification).consents(
            caller(),
            asked.get("individualId", ""),
            asked.get("dataAgreementId", ""),
            asked.get("revisionId", ""),
            *page(),
        )
        return jsonify(consentRecords=_all_shown(found))

    @routes.operation("verifyConsentBatch")
    def verify_batch() -> Any:
        """Whose consent exists now?"""
        given = body()
        found = resource(Verification).consent_of(caller(), given["dataAgreementId"], given["individualIds"])
        return jsonify(
            consentRecords=[
                {
                    "individualId": record.individual_id,
                    "consentRecordId": record.id,
                    "revisionId": record.revision_id,
                    "signedAt": record.signed_at.isoformat() if record.signed_at else None,
                }
                for record in found
            ]
        )

    @routes.operation("serviceVerificationConsentRecordRead")
    def verify_record(consent_record_id: str) -> Any:
        """Read one record with its revision and signature."""
        record, revision = resource(Verification).record(consent_record_id)
        return _record_answer(record, revision)


def agreements_answer(*, only_active: bool) -> Any:
    """Answer with a page of agreements."""
    found = resource(Verification).agreements(*page(), only_active=only_active)
    with resource(ConsentStore).database.read() as connection:
        return jsonify(dataAgreements=[resource(Shapes).agreement(connection, each) for each in found])


def records_answer(**equal: Any) -> Any:
    """Answer with a page of records."""
    return jsonify(consentRecords=_all_shown(resource(Verification).records(*page(), **equal)))


def _managed(**equal: Any) -> Any:
    """Answer with a page of the records that the caller manages."""
    return jsonify(consentRecords=_all_shown(resource(Verification).managed_records(caller(), *page(), **equal)))


def _record_answer(record: Record, revision: Revision) -> Any:
    return jsonify(consentRecord=_shown(record), revision=revision_shape(revision))


def _shown(record: Record) -> dict[str, Any]:
    return _all_shown([record])[0]


def _all_shown(records: list[Record]) -> list[dict[str, Any]]:
    with resource(ConsentStore).database.read() as connection:
        return [resource(Shapes).record(connection, record) for record in records]
