"""A program that follows the steps in its first argument, for runtimes that run real programs. Needs nothing but
Python.

The argument is JSON: ``{"steps": [...], "on_signal": {"15": [...]}}``; a step is ``["prints", line, stream]``,
``["waits", seconds]``, ``["listens", declared port]`` (an echo service on the port that the environment gives for it),
``["echoes"]`` (its input to its output), ``["prints_variable", name]`` or ``["exits", code]``. At the end of its steps
it goes on running.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any


def follow(steps: list[list[Any]]) -> None:
    for kind, *values in steps:
        if kind == "prints":
            # no buffered stream: a signal handler may interrupt a write, and print itself
            os.write(1 if values[1] == "stdout" else 2, (values[0] + "\n").encode())
        elif kind == "waits":
            time.sleep(values[0])
        elif kind == "listens":
            listening = socket.socket()
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("0.0.0.0", int(os.environ[f"PORT_{values[0]}"])))
            listening.listen(64)
            threading.Thread(target=serve, args=(listening,), daemon=True).start()
        elif kind == "echoes":
            while data := os.read(0, 65536):
                while data:
                    data = data[os.write(1, data) :]
        elif kind == "prints_variable":
            os.write(1, (os.environ.get(values[0], "") + "\n").encode())
        elif kind == "exits":
            os._exit(values[0])


def serve(listening: socket.socket) -> None:
    # Signals are for the main thread: one that came while all were stopped goes to whichever continues first.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


def echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def main() -> None:
    script = json.loads(sys.argv[1])
    for signum, steps in script["on_signal"].items():
        signal.signal(int(signum), lambda *_, steps=steps: follow(steps))
    follow(script["steps"])
    while True:
        signal.pause()


main()
