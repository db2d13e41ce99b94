"""Tiers on a mesh: particles, light cone and the phases that they share."""
