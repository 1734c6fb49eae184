"""The user's module: the worker that answers requests, and what it finds in ``env``."""
