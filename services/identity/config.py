"""The settings of identity."""

from dataclasses import dataclass

from sandroad.settings import AppConfig


@dataclass(frozen=True, kw_only=True)
class Config(AppConfig):
    """``messaging`` is the service that delivers one-time codes. Counts per person are within ten minutes."""

    messaging: str = "SANDBOX/GOV/DIGITAL/MESSAGING/messaging"
    code_seconds: int = 180
    code_attempts: int = 5
    login_seconds: int = 900
    authorization_code_seconds: int = 120
    token_seconds: int = 600
    codes_per_person: int = 60
    wrong_codes_per_person: int = 15

    @property
    def issuer(self) -> str:
        """The issuer identifier: the URL that browsers use."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def token_endpoint(self) -> str:
        """The public URL of the token endpoint."""
        return self.issuer + "/oauth/token"
