"""``make demo``: runs the examples on the real platform, drives them over HTTP, and shows what that proved."""
