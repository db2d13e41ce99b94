"""The lensing table of workflow/report/accuracy.md: maps of the workflow against CCL and CAMB."""

import numpy as np
import pytest

from lensing_accuracy import compare, surveys


@pytest.mark.accuracy
@pytest.mark.workflow
@pytest.mark.parametrize(
    "name", ["default", "KiDS-1000", "DES Y3", "Euclid DR1", "near and far", "outliers"]
)
def test_shear_of_the_maps_has_the_power_of_ccl_and_camb(tmp_path, name):
    sources = surveys(tmp_path / "redshifts")[name]
    over_ccl, over_camb, error = compare(name, sources, tmp_path)
    assert error.max() < 0.01
    for found in (over_ccl, over_camb):
        assert np.all(np.abs(found - 1) < sources.limit + 2 * error)
