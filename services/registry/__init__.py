"""Registries kept as data: GovStack Digital Registries, with consent and purpose enforced at the provider."""
