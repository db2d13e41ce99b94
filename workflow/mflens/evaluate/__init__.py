"""Evaluation: scores of posteriors, distances between densities and samples, comparisons."""
