"""The lognormal tier."""
