"""A row of a campaign's table: each number is what its name says, of the same generations."""

import dataclasses

import numpy as np
import pytest

from evolver.campaign.table import task_rows
from tests.campaign.synthetic import made

NAN = np.nan


@pytest.mark.parametrize(
    ("mean", "sem", "last", "error"),
    [
        # The first generation is none of the last three; one without scores is none at all.
        ([9.0, 1.0, 2.0, 3.0, 4.0], [8.0, 8.0, 0.3, 0.4, 1.2], 3.0, 1.3 / 3),
        ([9.0, 2.0, 4.0, NAN], [8.0, 0.3, 0.4, NAN], 3.0, 0.25),
        ([9.0], [0.5], 9.0, 0.5),
        ([9.0, 2.0, 4.0], [8.0, 0.3, NAN], 3.0, NAN),  # a generation of a single image
        ([NAN, NAN], [NAN, NAN], NAN, NAN),
        ([], [], NAN, NAN),
    ],
)
def test_the_error_beside_last_is_of_the_same_generations(tmp_path, mean, sem, last, error):
    ((task, result), *_) = made(tmp_path, seeds=1).results()
    changed = result.arrays | {"mean-0": np.array(mean), "sem-0": np.array(sem)}
    (row,) = task_rows(task, dataclasses.replace(result, arrays=changed))
    np.testing.assert_allclose([row["last"], row["last_sem"]], [last, error])
