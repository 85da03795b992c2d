"""Evidence: what proves to an outsider that a message was exchanged, when, and by whom.

``container`` renders it (ASiC-E, form *batch*), ``hashchain`` lets one time-stamp serve a batch, ``timestamp`` and
``verifier`` check it offline, ``cli`` is the `sandroad evidence` command. Nothing here needs a running gateway.
"""
