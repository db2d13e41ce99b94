"""Simulation: tiers, the light cone of a mesh, seed matching, lensing and survey."""
