"""simstudent: artificial students, trained from real submissions. See README.md."""

__version__ = "0.1.0"
