#!/usr/bin/env python3
"""Servers that are broken on purpose, each in one way, for the tests of `multiclient isolate --start`.

usage: broken.py FAULT PORT FILE
"""

import os
import re
import resource
import socket
import sys
import threading
import time

fault, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with open(path, "rb") as file:
    content = file.read()

# A leak must not become a flood: who runs out of descriptors serves nobody.
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

# Of the fault `shared-buffer`: the body that is to be sent, by its length, whoever asked for it.
shared = {}
leaked = []

# Of the routes `/hang` and `/peek`: a lock that all take, and what the client before has sent.
everybody = threading.Lock()
last = [b""]


def read_head(client):
    head = b""
    while b"\r\n\r\n" not in head and len(head) < 65536:
        some = client.recv(65536)
        if not some:
            return None
        head += some
    return head


def answer(head):
    """The response to a request: the content, or the part of it that is asked for."""
    line = head.split(b"\r\n", 1)[0].split(b" ")
    if len(line) != 3 or line[0] not in (b"GET", b"HEAD"):
        if fault == "dies-at-a-bad-request" and len(line) != 3:
            os._exit(1)
        return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    if line[1] == b"/boom":
        if fault == "crash-route":
            os._exit(1)
        raise RuntimeError("boom")
    if line[1] == b"/hang":
        with everybody:
            time.sleep(3600)
    if line[1] == b"/leak":
        leaked.append(b"x" * (1 << 20))
    if line[1] == b"/peek":
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(last[0]), last[0])
    if line[1] != b"/film.mp4":
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with everybody:
        body, status = content, b"200 OK"
    if fault == "changes":
        body = bytes(str(time.monotonic_ns()).rjust(len(content)), "ascii")
    part = re.search(rb"\r\nRange: bytes=(\d{1,9})-(\d{1,9})\r\n", head)
    if part and int(part[1]) <= int(part[2]):
        body, status = content[int(part[1]) : int(part[2]) + 1], b"206 Partial Content"
    if fault == "shared-buffer":
        shared[len(body)] = body
        time.sleep(0.002)
        body = shared[len(body)]
    fields = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body))
    return fields if line[0] == b"HEAD" else fields + body


def serve(client):
    try:
        head = read_head(client)
        if head is None:
            return
        response = answer(head)
        last[0] = head
        if fault == "slow":
            time.sleep(0.25)
        if fault == "leaks-a-descriptor":
            leaked.append(os.open("/dev/null", os.O_RDONLY))
        client.sendall(response)
    except (OSError, RuntimeError):
        if fault == "hangs-when-a-client-leaves":
            with everybody:
                time.sleep(3600)
    finally:
        client.close()


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(512)
while True:
    accepted, _ = listener.accept()
    if fault == "hangs-when-a-client-leaves":
        with everybody:
            pass
    if fault == "one-at-a-time":
        serve(accepted)
    else:
        threading.Thread(target=serve, args=(accepted,), daemon=True).start()
