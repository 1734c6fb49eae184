"""HTTP/2 to a server, in cleartext with prior knowledge (RFC 9113, 3.3): many exchanges share a connection."""
