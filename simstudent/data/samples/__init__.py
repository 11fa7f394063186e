"""Made-up logs in the exact formats of real ones, for trying a loader and a recipe without anybody's data."""
