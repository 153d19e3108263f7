"""Cross products, of which `make test` runs chosen cases and `make slow` the others."""

import pytest


def thinned(cases, keep):
    """The cases (values, tuples of values or pytest.params), those marked slow for which `keep(*values)` is false."""
    slow = pytest.mark.slow
    return [case if keep(*case.values) else pytest.param(*case.values, id=case.id, marks=(*case.marks, slow))
            for case in map(param, cases)]


def param(case):
    """A case as a pytest.param."""
    return case if hasattr(case, "marks") else pytest.param(*case if isinstance(case, tuple) else (case,))
