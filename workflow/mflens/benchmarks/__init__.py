"""Benchmarks: what sims cost, as ratios measured in one run, and what a survey run would cost."""
