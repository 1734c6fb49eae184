"""How fast the platform is, beside known proxies in the same run: `python -m bench` (see README.md)."""
