"""Compressors: maps of a chunk to summaries."""
