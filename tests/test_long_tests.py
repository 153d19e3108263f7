"""The table of long tests names tests that exist."""

import re
from pathlib import Path

import pytest

from tests.long_tests import EVERY

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", EVERY)
def test_it_exists(name):
    file, _, test = name.partition("::")
    assert re.search(rf"^def {test}\(", (ROOT / file).read_text("utf-8"), re.M)
