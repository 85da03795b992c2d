"""Identity: an OpenID Provider, enrolment, and functional ids per programme. Stands in for MOSIP e-Signet."""
