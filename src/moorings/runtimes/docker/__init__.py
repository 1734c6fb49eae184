"""Containers of a Docker Engine, through its API (also Podman's compatible socket).

``runtime.py`` is the seam; each of the others has one idea: the connection (``engine.py``), what a container is made
with (``creating.py``), whose it is (``identity.py``), how it ended (``ends.py``), what it printed (``output.py``,
``reading.py``), the event stream (``watching.py``), the app's networks (``networks.py``), images (``images.py``).

This package is imported where Docker is used only: its client library takes a tenth of a second to load.
"""

from moorings.runtimes.docker.runtime import DockerRuntime, DockerSettings

__all__ = ["DockerRuntime", "DockerSettings"]
