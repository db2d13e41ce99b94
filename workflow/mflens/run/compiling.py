"""The process that compiles numba's functions and computes nothing (`mflens.compiled`).

python -m mflens.run.compiling <function> <type> ...
"""

import sys
from collections.abc import Sequence

from mflens import compiled
from mflens.run.job import end_with_run

NEED_PYSCO = ("mflens.simulate.mesh.engine", "mflens.simulate.mesh.particles")


def declared(pysco: bool) -> list[tuple[str, Sequence[str]]]:
    """Return the names of all functions that are compiled ahead, with the types of their arguments.

    Parameters
    ----------
    pysco
        Whether those of PySCo and of its particles are among them.
    """
    from mflens.simulate.lognormal import gaussian
    from mflens.simulate.mesh import lightcone, matching, mesh_fourier, transport
    from mflens.theory import growth, kernels

    _ = gaussian, lightcone, matching, mesh_fourier, transport, growth, kernels
    if pysco:
        from mflens.simulate.mesh import particles

        _ = particles
    return compiled.declared


def main(name: str, *kinds: str) -> None:
    """Compile a function for the types given; if it is declared for them, all that is declared."""
    compiled.compiles = True
    chosen, asked = declared(name.startswith(NEED_PYSCO)), compiled.read_types(kinds)
    ahead = any(one == name and compiled.read_types(types) == asked for one, types in chosen)
    compiled.fill(chosen if ahead else [(name, kinds)])


if __name__ == "__main__":
    end_with_run()
    main(*sys.argv[1:])
