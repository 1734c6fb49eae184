"""Named, single-instance objects: identity, stubs, gates, and the memory each one lives in."""
