"Where the time goes: parts, advice, and no trace."
import pytest

from lessonlib.profiling import Profile


@pytest.mark.quick
def test_advice(): assert 'num_workers' in Profile([dict(load=.8, forward=.1, backward=.1)], items=10).advice
