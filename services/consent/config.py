"""Settings of the consent block."""

from dataclasses import dataclass

from sandroad.settings import AppConfig


@dataclass(frozen=True, kw_only=True)
class Config(AppConfig):
    """``identity_issuer`` is the OpenID provider's public URL; ``identity_url`` where this block reaches it, if that differs.

    ``return_urls`` are the prefixes, separated by commas, of pages to which people may be sent back after deciding.
    ``oidc_client_id`` is this block's id as a relying party; control can set both at run time (``PUT /-/oidc-client``).
    ``session_seconds`` is how long a login counts. ``identity`` is the identity service behind the gateway.
    """

    identity: str = ""
    identity_issuer: str = ""
    identity_url: str = ""
    oidc_client_id: str = ""
    return_urls: str = ""
    session_seconds: int = 900

    @property
    def base_url(self) -> str:
        """The URL at which browsers reach this block."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")
