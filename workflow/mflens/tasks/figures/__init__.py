"""Figures of the published tasks."""
