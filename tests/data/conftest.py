"""What the tests of the data share."""

import pytest

from minicnn import data


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture
def file(tmp_path):
    def write(content, name="file-idx"):
        path = tmp_path / name
        path.write_bytes(content)
        return path
    return write
