"""Suites of simulations that the user has: how their files lie and what they hold."""
