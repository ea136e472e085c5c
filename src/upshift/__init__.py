"""Upshift: from one pilot to a governed platform of AI agents. The map of the house is in CONTRIBUTING.md."""

__version__ = "0.1.0"
