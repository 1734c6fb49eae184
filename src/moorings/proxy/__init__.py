"""The way to a container's port: pooled connections, and forwarding over them."""

from moorings.errors import ConnectFailed
from moorings.http.h2_client.pool import H2Pool
from moorings.proxy.forward import forward
from moorings.proxy.forward_h2 import forward_h2
from moorings.proxy.pool import UpstreamPool
from moorings.proxy.switching import switch
from moorings.proxy.tunnel import Tunnel
from moorings.proxy.websocket import ForwardedWebSocket

__all__ = ["ConnectFailed", "ForwardedWebSocket", "H2Pool", "Tunnel", "UpstreamPool", "forward", "forward_h2", "switch"]
