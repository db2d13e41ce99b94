"""The design: parameters of sims, drawn or of sims that the user has."""
