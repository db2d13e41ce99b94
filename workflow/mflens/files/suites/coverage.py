"""Which part of the sky a map on disk covers.

Near shells are sampled so thinly that most of their pixels are empty, all over the sky; a light
cone of an octant is empty in one piece. What tells them apart is whether large pixels are empty
while others hold many particles.
"""

import numpy as np

FINEST = 128  # nside of the large pixels at which the search starts
BLOCK = 2**22  # pixels that are sorted at once
# Large pixels with so many particles in the median are not empty, whatever the clustering, on more
# than a few per cent of a sky, and with so many nowhere. ASSUME so of lognormals of width 1.5.
MANY, SHARE = 100, 0.05
VERY_MANY = 10_000
WORTH = 25  # particles of a pixel whose value is not exactly zero, where values are continuous
NO_PART = 1e-4  # of the sky: so little is not worth the search
LOW = 0.1  # quantile of the filled pixels


def empty_part(density: np.ndarray) -> float:
    """Return the part of the sky that a map leaves out, 0 if its empty pixels are those of noise.

    Parameters
    ----------
    density
        Counts or masses, not negative, or whether continuous values are other than zero; RING,
        shape (n_pix,).
    """
    import healpy

    if density.dtype == bool:
        density = density.astype(np.uint8) * np.uint8(WORTH)
    nside, filled = healpy.npix2nside(density.size), np.count_nonzero(density)
    if not 0 < filled < (1 - NO_PART) * density.size or nside == 1 or nside & (nside - 1):
        return 0.0
    particles = _join(density, min(nside // 2, FINEST)) / _particle(density)
    while True:
        empty = np.mean(particles == 0)
        typical = np.median(particles[particles > 0])
        if (typical >= MANY and empty > SHARE) or (typical >= VERY_MANY and empty > 0):
            return float(empty)
        if particles.size == 12:
            return 0.0
        particles = particles.reshape(-1, 4).sum(1)


def _particle(density: np.ndarray) -> float:
    """Return what one particle adds to a pixel: 1 for counts, else what low pixels hold.

    Thin samples of masses have many pixels of one particle; dense ones have none, so that their
    number of particles comes out too low, which is on the safe side.
    """
    some = density[:: max(1, density.size // BLOCK)]
    if density.dtype.kind in "iu" or np.array_equal(some, np.rint(some)):
        return 1.0
    return float(np.quantile(density[density > 0][:BLOCK], LOW))


def _join(density: np.ndarray, nside: int) -> np.ndarray:
    """Return sums over larger pixels, NESTED, shape (12 nside^2,)."""
    import healpy

    found = healpy.npix2nside(density.size)
    sums = np.zeros(12 * nside**2)
    for start in range(0, density.size, BLOCK):
        block = density[start : start + BLOCK]
        pixel = start + np.flatnonzero(block)
        large = healpy.ring2nest(found, pixel) // (found // nside) ** 2
        sums += np.bincount(large, weights=block[pixel - start], minlength=sums.size)
    return sums
