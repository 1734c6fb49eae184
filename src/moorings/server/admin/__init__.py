"""The admin API: what the command line asks a platform that runs, over a Unix socket in its data folder.

HTTP with JSON, so that ``curl --unix-socket`` can ask as well. ``address`` says where the socket is, ``listening`` owns
it, ``router`` makes routes of operations, and ``routes`` lists those that there are.
"""
