"""Central, the trust authority of an instance: member directory, certification, OCSP, time-stamps, global configuration.

It sees no message. What it signs is checked by `gateway.trust`, which believes nothing of it but an anchor's keys.
"""
