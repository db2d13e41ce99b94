"""Readers of simulations that the user has on disk, one module for each format."""
