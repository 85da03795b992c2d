"""The contract's part ``/config``: for the member's administrator, and whom an access right lets in."""

from typing import Any

from flask import jsonify

from sandroad.callers import caller
from sandroad.contracts import Routes, body, parameters
from sandroad.web import resource
from services.consent.agreements import Configuration
from services.consent.domain import Agreement
from services.consent.revisions import Revision
from services.consent.routes.requests import page
from services.consent.shapes import Shapes, revision_shape
from services.consent.store import ConsentStore


def bind(routes: Routes) -> None:
    """Bind the operations."""
    _bind_policies(routes)
    _bind_agreements(routes)
    _bind_individuals(routes)


def _bind_policies(routes: Routes) -> None:
    @routes.operation("configPolicyCreate")
    def create_policy() -> Any:
        """Create a policy."""
        return _policy(*resource(Configuration).create_policy(caller(), body()["policy"]))

    @routes.operation("configPolicyRead")
    def read_policy(policy_id: str) -> Any:
        """Read a policy with its latest revision."""
        return _policy(*resource(Configuration).read_policy(policy_id, parameters().get("revisionId", "")))

    @routes.operation("configPolicyUpdate")
    def update_policy(policy_id: str) -> Any:
        """Write a policy's next revision."""
        return _policy(*resource(Configuration).update_policy(caller(), policy_id, body()["policy"]))

    @routes.operation("configPolicyDelete")
    def delete_policy(policy_id: str) -> Any:
        """Delete a policy, as a revision."""
        return jsonify(revision=revision_shape(resource(Configuration).delete_policy(caller(), policy_id)))

    @routes.operation("configPolicyRevisionsList")
    def list_policy_revisions(policy_id: str) -> Any:
        """List a policy's revisions; the policy too, as the published file says."""
        policy, revisions = resource(Configuration).policy_revisions(policy_id, *page())
        return jsonify(policy=resource(Shapes).policy(policy), revisions=[revision_shape(each) for each in revisions])

    @routes.operation("configPolicyList")
    def list_policies() -> Any:
        """List policies."""
        return jsonify(policies=resource(Configuration).list_policies(*page()))


def _bind_agreements(routes: Routes) -> None:
    @routes.operation("configDataAgreementCreate")
    def create_data_agreement() -> Any:
        """Create a data agreement."""
        return agreement_answer(*resource(Configuration).create_agreement(caller(), body()["dataAgreement"]))

    @routes.operation("configDataAgreementRead")
    def read_data_agreement(data_agreement_id: str) -> Any:
        """Read a data agreement with its latest revision."""
        return agreement_answer(*resource(Configuration).read_agreement(data_agreement_id))

    @routes.operation("configDataAgreementUpdate")
    def update_data_agreement(data_agreement_id: str) -> Any:
        """Write a data agreement's next revision."""
        given = body()["dataAgreement"]
        return agreement_answer(*resource(Configuration).update_agreement(caller(), data_agreement_id, given))

    @routes.operation("configDataAgreementDelete")
    def delete_data_agreement(data_agreement_id: str) -> Any:
        """Terminate a data agreement, as a revision."""
        revision = resource(Configuration).delete_agreement(caller(), data_agreement_id)
        return jsonify(revision=revision_shape(revision))

    @routes.operation("configDataAgreementList")
    def list_data_agreements() -> Any:
        """List data agreements; the singular name of the member is the published file's."""
        store, shapes = resource(ConsentStore), resource(Shapes)
        with store.database.read() as connection:
            found = store.list_agreements(connection, *page())
            return jsonify(dataAgreement=[shapes.agreement(connection, each) for each in found])


def _bind_individuals(routes: Routes) -> None:
    @routes.operation("configIndividualCreate")
    def config_create_individual() -> Any:
        """Create an individual."""
        return jsonify(individual=resource(Configuration).create_individual(caller(), body()["individual"]))

    @routes.operation("configIndividualRead")
    def config_read_individual(individual_id: str) -> Any:
        """Read an individual."""
        return jsonify(individual=resource(Configuration).read_individual(caller(), individual_id))

    @routes.operation("configIndividualList")
    def config_list_individuals() -> Any:
        """List individuals."""
        return jsonify(individuals=resource(Configuration).list_individuals(caller(), *page()))


def agreement_answer(agreement: Agreement, revision: Revision) -> Any:
    """Answer with an agreement and a revision."""
    with resource(ConsentStore).database.read() as connection:
        shape = resource(Shapes).agreement(connection, agreement)
    return jsonify(dataAgreement=shape, revision=revision_shape(revision))


def _policy(policy: dict[str, Any], revision: Revision) -> Any:
    return jsonify(policy=resource(Shapes).policy(policy), revision=revision_shape(revision))
