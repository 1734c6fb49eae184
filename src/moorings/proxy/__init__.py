"""The way to a container's port: pooled connections, and forwarding over them."""

from moorings.errors import ConnectFailed
from moorings.proxy.forward import forward
from moorings.proxy.pool import UpstreamPool

__all__ = ["ConnectFailed", "UpstreamPool", "forward"]
