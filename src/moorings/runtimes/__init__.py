"""Where containers run: the seam (``base``), local processes (``process``), a scripted fake for tests (``fake``)."""
