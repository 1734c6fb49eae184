"""What the command line shows while a platform runs: for people (``human``) and for log collectors (``json_lines``)."""
