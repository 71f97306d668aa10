"Optimisers: how to walk down a long valley."
import pytest

from lessonlib.optimizers import optimizers_mean


@pytest.mark.parametrize('values, mean', [([1, 2, 6], 3), ([4], 4), ([-1, 1], 0)])
def test_mean(values, mean): assert optimizers_mean(values) == mean


def test_no_numbers():
    with pytest.raises(ValueError, match='give one or more'): optimizers_mean([])
