"""Reading a picture and choosing its part, in one import: `picture.read(path, picture.whole, (H, W), channels=3)`."""

from minicnn.data.crop import around, middle, whole
from minicnn.data.decode import decoded, read

__all__ = ["around", "decoded", "middle", "read", "whole"]
