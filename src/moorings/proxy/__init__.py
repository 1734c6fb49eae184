"""The way to a container's port: pooled connections, and forwarding over them."""

from moorings.errors import ConnectFailed
from moorings.proxy.forward import forward
from moorings.proxy.pool import UpstreamPool
from moorings.proxy.switching import switch
from moorings.proxy.tunnel import Tunnel
from moorings.proxy.websocket import ForwardedWebSocket

__all__ = ["ConnectFailed", "ForwardedWebSocket", "Tunnel", "UpstreamPool", "forward", "switch"]
