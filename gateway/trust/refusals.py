"""Why a global configuration is not believed, or a gateway is not enrolled: one named refusal per broken rule."""

from typing import ClassVar


class TrustRefused(Exception):
    """A trust rule said no; the text is one sentence for the person who has to mend it."""

    code: ClassVar[str] = "trust_refused"


class ConfigurationRefused(TrustRefused):
    """This global configuration is not used, whole; what the gateway had before stays in force until it expires."""

    code = "configuration_refused"


class ConfigurationMalformed(ConfigurationRefused):
    """It is signed by central, but is not of the published form."""

    code = "configuration_malformed"


class ConfigurationForged(ConfigurationRefused):
    """The bytes are not signed by the configuration key that the anchor pins."""

    code = "configuration_forged"


class ConfigurationForeign(ConfigurationRefused):
    """It belongs to another instance."""

    code = "configuration_foreign"


class ConfigurationNotYetValid(ConfigurationRefused):
    """It was issued in the future: one of the two clocks is wrong."""

    code = "configuration_not_yet_valid"


class ConfigurationExpired(ConfigurationRefused):
    """It is past its expiry."""

    code = "configuration_expired"


class ConfigurationRolledBack(ConfigurationRefused):
    """A newer version has been seen already."""

    code = "configuration_rolled_back"


class AuthorityUnknown(ConfigurationRefused):
    """It names a certification or time-stamping authority that the anchor does not."""

    code = "authority_unknown"


class CertificateRefused(ConfigurationRefused):
    """A gateway's certificate in it breaks a rule."""

    code = "certificate_refused"


class CertificateUntrusted(CertificateRefused):
    """No authority of the anchor issued the certificate, or it was not valid."""

    code = "certificate_untrusted"


class CertificateOfOtherMember(CertificateRefused):
    """The certificate's subject is not the member it is listed under."""

    code = "certificate_of_other_member"


class CertificateMisused(CertificateRefused):
    """The certificate's key, or what the key may be used for, is not that of a signing certificate."""

    code = "certificate_misused"


class OcspRefused(CertificateRefused):
    """The OCSP response beside a certificate is not signed by its authority, is about another one, or is too old."""

    code = "ocsp_refused"


class CentralUnavailable(TrustRefused):
    """Central does not answer, or answers nonsense; trying again later may help."""

    code = "central_unavailable"


class EnrolmentRefused(TrustRefused):
    """Central will not certify this gateway."""

    code = "enrolment_refused"


class EnrolmentPending(TrustRefused):
    """Central has the request; a person has to approve it."""

    code = "enrolment_pending"
