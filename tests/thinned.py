"""Cross products, of which `make test` runs chosen cases and `make slow` the others."""

import pytest


def thinned(cases, keep):
    """The cases (values, tuples of values or pytest.params), marked slow where `keep(*values)` is false."""
    for case in cases:
        values, marks, id_ = (case.values, case.marks, case.id) if hasattr(case, "marks") else (
            case if isinstance(case, tuple) else (case,), (), None)  # fmt: skip
        yield case if keep(*values) else pytest.param(*values, marks=(*marks, pytest.mark.slow), id=id_)
