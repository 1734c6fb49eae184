"""A program with a memory: answers with who it is (its pid, or the name of the machine that it has to itself), what it
was born with, and how often it was asked; prints numbered lines all the time. SIGTERM prints a last line and ends it
with 7, SIGUSR1 makes it take more memory than there is. Arguments: port, address.
"""

import os
import select
import signal
import socket
import sys
import time

EVERY = 0.1

born = os.urandom(8).hex()
who = str(os.getpid()) if sys.argv[2] == "127.0.0.1" else socket.gethostname()
asked = 0
printed = 0


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def stop(*_: object) -> None:
    say(f"line {printed}")
    say(f"last {printed}")
    os._exit(7)


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGUSR1, lambda *_: b"x" * 2**30)
listener = socket.create_server((sys.argv[2], int(sys.argv[1])), backlog=64)
due = time.monotonic()
clients: list[socket.socket] = []
while True:
    ready = select.select([listener, *clients], [], [], max(0.0, due - time.monotonic()))[0]
    if time.monotonic() >= due:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        say(f"line {printed}")
        printed += 1
        due += EVERY
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if listener in ready:
        clients.append(listener.accept()[0])
    for client in [client for client in clients if client in ready]:
        try:
            data = client.recv(65536)
        except OSError:
            data = b""
        if not data:
            client.close()
            clients.remove(client)
            continue
        for _ in range(data.count(b"\r\n\r\n")):
            asked += 1
            body = f'{{"who": "{who}", "born": "{born}", "asked": {asked}}}'
            client.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
