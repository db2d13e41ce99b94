"""The wiring of a run in Python: its plan, jobs, config, checks and records."""
