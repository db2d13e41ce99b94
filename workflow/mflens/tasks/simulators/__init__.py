"""The simulators of the published tasks."""
