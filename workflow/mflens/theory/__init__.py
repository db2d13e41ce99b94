"""Theory: linear growth, matter power spectra and the angular spectra of density shells."""
