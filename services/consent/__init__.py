"""Consent: data agreements, signed consent records, verification, withdrawal and audit (GovStack Consent 1.1.0-rc1).

The journey of a consent: an administrator describes an agreement (``agreements``); a person reads it on this block's own
page and agrees (``pages``), or an officer records it on paper through the gateway (``records``); a provider of data asks
whether consent exists before it answers anybody (``verification``); the person withdraws, and from that commit on no
verification succeeds. Every step is a revision in a hash chain (``revisions``) and, when signed, a JWS (``signatures``).
"""
