"""gridtwin: the twin of a distribution network, from forecast to certified flexibility."""

__version__ = "0.1.0"
