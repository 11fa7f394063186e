"""Where things that can be made again are kept between runs: verdicts of the graders, converted models."""

from graders.cache import cache_folder

__all__ = ["cache_folder"]
