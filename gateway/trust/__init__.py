"""Whom a gateway believes: the anchor, the global configuration that central signs, and how a gateway enrols.

The journey of trust: an *anchor* (`anchor.py`) reaches the gateway out of band and pins central's configuration key and
authorities. Under it central publishes the *global configuration*: members, gateways, their certificates and a fresh
OCSP response for each. `configuration.load` checks all of it, once, and gives an object of plain lookups; I/O is in
`enrolment` and `keys` only.

    from gateway.trust.enrolment import enrol, stored, fetch_configuration, make_keys
    enrolled = enrol(central_url, folder, gateway="civil-gateway", token=…, address="http://127.0.0.1:…", queue="…")
    enrolled.private_key, enrolled.certificate_der, enrolled.x5t

    from gateway.trust.configuration import load
    configuration = load(fetch_configuration(anchor.configuration_url), anchor, now, minimum_version=seen)
    configuration.certificate(x5t)      -> CertificateEntry | None: .public_key .member .gateway .status .is_good_at(t)
    configuration.gateways_of("SANDBOX/GOV/CIVIL/REGISTRY")          -> (GatewayEntry: .member .code .address .queue, …)
    configuration.knows_client("SANDBOX/GOV/WELFARE/CASH-TRANSFER")  -> bool
    configuration.is_expired(now), .settings["refresh_seconds"], .timestamping_url, .ocsp_url

`refusals` names everything that can be refused: `ConfigurationRefused` and its kinds, `EnrolmentRefused`,
`EnrolmentPending`, `CentralUnavailable`.
"""
