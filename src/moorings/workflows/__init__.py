"""Workflows: code whose steps are recorded as they complete, so that it goes on where it was after any interruption.

``entrypoint`` and ``step`` are what users write against, ``binding`` what they find in ``env``. ``engine`` knows every
instance, ``run`` is one of them while it is in memory, ``journal`` what it has recorded, ``records`` the rows of both.
"""
