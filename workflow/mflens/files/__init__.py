"""Files: formats, provenance, fingerprints."""
