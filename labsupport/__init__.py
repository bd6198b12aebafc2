"""The package that the notebooks of Adaptive Training run on; `python -m labsupport` checks the installation."""

__all__ = ["__version__"]

__version__ = "0.1.0"
