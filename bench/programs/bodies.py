"""A program with bodies of any size: GET /down/SIZE streams zeros, all else is counted.

Usage: bodies.py PORT
"""

import asyncio
import re
import sys

CHUNK = bytes(64 * 1024)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await answer(head, reader, writer)
    except (EOFError, ConnectionError):
        writer.close()


async def answer(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    left = 0
    if found := re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE):
        left = int(found[1])
    got = 0
    while got < left:
        data = await reader.read(min(len(CHUNK), left - got))
        if not data:
            raise EOFError
        got += len(data)
    if wanted := re.match(rb"GET /down/(\d+) ", head):
        size = int(wanted[1])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while size > 0:
            writer.write(CHUNK[:size])
            size -= len(CHUNK)
            await writer.drain()
        return
    body = b"%d\n" % got
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
