"""mflens: multifidelity inference of cosmology from weak-lensing maps."""

__version__ = "0.1.0"
