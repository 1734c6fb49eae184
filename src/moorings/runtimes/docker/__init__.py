"""Containers of a Docker Engine, through its API (also Podman's compatible socket).

``runtime.py`` is the seam over ``connection.py``; each of the others has one idea: the Engine's client (``engine.py``),
where it is (``locating.py``), what a container is made with (``creating.py``, ``starting.py``), whose it is
(``identity.py``), how it ended (``ends.py``), what it printed (``output.py``, ``reading.py``, ``logs.py``), the event
stream (``watching.py``), the networks (``networks.py``), programs inside (``executing.py``), images (``images.py``,
``context.py``, ``ignoring.py``).

``runtime`` is imported where Docker is used only: its client library takes a tenth of a second to load.
"""
