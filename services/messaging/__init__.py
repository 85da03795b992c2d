"""Messaging: e-mail and SMS on behalf of organisations, into an inbox that never leaves the machine."""
