#!/usr/bin/env python3
"""What one live source costs with many viewers, against the same viewers of a plain file.

    cargo build --release
    tests/bench/live.py target/release/multiclient

One producer writes at a constant rate to the server's standard input. Every packet has its number and
the time at which it was written in it. Viewers join one after the other, and one of them stops reading.
Of what each viewer gets, a packet is looked at with every read: its number has to be that which follows
from the bytes that came before, so a gap anywhere is seen. Some viewers hash every byte.

Then as many viewers download a file, each held to the same rate by the server (`--rate`).

The viewers discard what they do not look at inside the kernel (MSG_TRUNC): what is measured should be
the server, and there is one machine for both.
"""

import argparse
import atexit
import hashlib
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

PACKET = 188
HEADER = struct.Struct(">BQQ")  # mark, number, time
MARK = 0x01  # not the sync byte of MPEG-TS: viewers of a format that is known begin with its header
FILL = bytes(range(0x80, 0x100))[: PACKET - HEADER.size].ljust(PACKET - HEADER.size, b"\xff")  # no mark
TICK_S = 0.01


def produce(pipe, mbit, hash_from, number_of_hashed):
    """Writes packets to a pipe until the process is killed or the pipe is closed."""
    per_tick = mbit * 1e6 / 8 / PACKET * TICK_S
    number, due, began = 0, 0.0, time.monotonic()
    digest = hashlib.sha256()
    with os.fdopen(pipe, "wb", buffering=0) as pipe:
        tick = 0
        while number < hash_from + number_of_hashed:
            tick += 1
            due += per_tick
            now = time.monotonic_ns()
            batch = b"".join(HEADER.pack(MARK, n, now) + FILL for n in range(number, int(due)))
            skip = max(0, (hash_from - number) * PACKET)
            digest.update(batch[skip:][: (hash_from + number_of_hashed - max(number, hash_from)) * PACKET])
            number = int(due)
            while batch:
                batch = batch[pipe.write(batch) :]
            time.sleep(max(0.0, began + tick * TICK_S - time.monotonic()))
    return digest.hexdigest()


class Server:
    """The program, as it runs."""

    def __init__(self, program, arguments, stdin):
        command = [program, *arguments, "--log", "text"]
        self.process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.ready = threading.Event()
        atexit.register(self.process.kill)
        threading.Thread(target=self.listen, daemon=True).start()
        if not self.ready.wait(10):
            sys.exit("the server is not ready: " + "\n".join(self.lines))

    def listen(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if opened := re.match(r"open +http://127\.0\.0\.1:(\d+)(/\S*)", line):
                self.port, self.path = int(opened[1]), opened[2]
            if line.startswith("ready"):
                self.ready.set()

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Of its own, and in files that are nowhere but in memory. Bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            own = int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024
        held, folder = 0, f"/proc/{self.process.pid}/fd"
        for number in os.listdir(folder):
            try:
                if os.readlink(f"{folder}/{number}").startswith("/memfd:"):
                    held += os.stat(f"{folder}/{number}").st_blocks * 512
            except FileNotFoundError:
                pass
        return own, held

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Viewer:
    """A client that gets bytes until the server closes."""

    def __init__(self, server, live, receive_buffer=None, hashed=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", server.port))
        self.socket.sendall(f"GET {server.path} HTTP/1.0\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.socket.recv(1)
        if not head.startswith(b"HTTP/1.1 200 "):
            sys.exit(f"not what was asked for: {head!r}")
        self.live, self.joined, self.offset, self.hashed, self.ended = live, None, 0, hashed, False
        if live:
            self.join()
        self.socket.setblocking(False)

    def join(self):
        """Finds the first whole packet: a viewer joins anywhere in the stream."""
        start = self.socket.recv(2 * PACKET, socket.MSG_WAITALL)
        begins = (at for at in range(PACKET) if start[at + HEADER.size : at + PACKET] == FILL)
        # Bytes count from where that packet begins.
        self.offset = -next(begins)
        look(self, start, len(start), None)
        self.offset += len(start)


def watch(viewers, until, on_tick, delays):
    """Reads what comes for all viewers until `until()` says so or all have ended."""
    poll = select.epoll()
    by_number = {}
    for viewer in viewers:
        by_number[viewer.socket.fileno()] = viewer
        poll.register(viewer.socket.fileno(), select.EPOLLIN)
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    last_tick = time.monotonic()
    while by_number and not until():
        for number, _ in poll.poll(0.1):
            viewer = by_number[number]
            if not receive(viewer, buffer, view, delays):
                poll.unregister(number)
                viewer.ended = True
                del by_number[number]
        if time.monotonic() - last_tick > 0.25:
            last_tick = time.monotonic()
            on_tick()


def receive(viewer, buffer, view, delays):
    looked = 0
    try:
        if viewer.live:
            wanted = len(buffer) if viewer.hashed else 2 * PACKET
            looked = viewer.socket.recv_into(view, wanted)
            if looked == 0:
                return False
            look(viewer, buffer, looked, delays)
            viewer.offset += looked
            if looked < wanted:
                return True
        count = viewer.socket.recv_into(view, len(buffer), socket.MSG_TRUNC if not viewer.hashed else 0)
        if viewer.hashed and count:
            look(viewer, buffer, count, None)
        viewer.offset += count
        return count > 0
    except BlockingIOError:
        return True


def look(viewer, buffer, count, delays):
    """Checks a packet's number against the bytes that came before it."""
    if viewer.hashed:
        viewer.hashed.update(viewer.offset, memoryview(buffer)[:count], viewer.joined)
    at = -viewer.offset % PACKET
    if at + HEADER.size > count:
        return
    mark, number, written_ns = HEADER.unpack_from(buffer, at)
    if viewer.joined is None:
        viewer.joined = number - (viewer.offset + at) // PACKET
        if viewer.hashed:
            viewer.hashed.update(viewer.offset, memoryview(buffer)[:count], viewer.joined)
    promised = viewer.joined + (viewer.offset + at) // PACKET
    if mark != MARK or number != promised:
        sys.exit(f"a gap: packet {number} came where {promised} was due")
    if delays is not None and delays.open:
        delays.seen.append((time.monotonic_ns() - written_ns) / 1e6)


class Hashed:
    """A hash of the packets that all viewers have in common."""

    def __init__(self, first, count):
        self.from_byte, self.to_byte = first * PACKET, (first + count) * PACKET
        self.digest = hashlib.sha256()

    def update(self, offset, piece, joined):
        if joined is None:
            return
        at = joined * PACKET + offset
        begin, end = max(self.from_byte - at, 0), min(self.to_byte - at, len(piece))
        if begin < end:
            self.digest.update(piece[begin:end])


class Delays:
    open = False

    def __init__(self):
        self.seen = []


class Window:
    """Counts from when everything has settled."""

    def __init__(self, server, viewers, settle, seconds, delays=None):
        self.server, self.viewers, self.delays = server, viewers, delays
        self.begin = time.monotonic() + settle
        self.end = self.begin + seconds
        self.at_begin = self.at_end = None
        self.memory = (0, 0)

    def now(self):
        return time.monotonic(), self.server.cpu_s(), sum(viewer.offset for viewer in self.viewers)

    def tick(self):
        if self.server.process.poll() is None:
            self.memory = max(self.memory, self.server.memory(), key=sum)
        now = time.monotonic()
        if self.at_begin is None and now >= self.begin:
            self.at_begin = self.now()
            if self.delays:
                self.delays.open = True
        if self.at_end is None and now >= self.end:
            self.at_end = self.now()
            if self.delays:
                self.delays.open = False

    def costs(self):
        seconds, cpu, count = (b - a for a, b in zip(self.at_begin, self.at_end))
        gib = count / 2**30
        return {
            "seconds": round(seconds, 1),
            "delivered_gib": round(gib, 2),
            "mbit_per_viewer": round(count * 8 / 1e6 / seconds / len(self.viewers), 2),
            "server_cpu_s": round(cpu, 2),
            "server_cpu_s_per_gib": round(cpu / gib, 3),
            "server_mib_own": round(self.memory[0] / 2**20, 1),
            "server_mib_live": round(self.memory[1] / 2**20, 1),
        }


def live(options):
    reader, writer = os.pipe()
    server = Server(options.program, ["-", "0", "--as", "/live.bin", "--burst", "64K", "--lag", options.lag], reader)
    os.close(reader)
    per_second = options.mbit * 1e6 / 8 / PACKET
    joining = 2 + options.viewers / 100
    first = int(per_second * (joining + options.settle))
    count = int(per_second * (options.seconds + 1))
    # A process of its own: it should not have to wait for those who read.
    source, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        digest = "broken"
        try:
            digest = produce(writer, options.mbit, first, count)
        finally:
            os.write(told, digest.encode())
            os._exit(0)
    os.close(writer)
    os.close(told)
    began = time.monotonic()
    stopped = Viewer(server, True, receive_buffer=16 << 10)
    viewers = []
    delays = Delays()
    for number in range(options.viewers):
        hashed = Hashed(first, count) if number % (options.viewers // options.hashed) == 0 else None
        viewers.append(Viewer(server, True, hashed=hashed))
        if number % 50 == 49:
            watch(viewers, until_later(0.1), lambda: None, delays)
    joined = time.monotonic() - began
    if joined > joining:
        print(f"note: joining took {joined:.1f} s and not {joining:.1f} s", file=sys.stderr)
    window = Window(server, viewers, max(0.0, joining - joined) + options.settle, options.seconds, delays)
    watch(viewers, lambda: False, window.tick, delays)
    window.tick()
    os.waitpid(child, 0)
    wanted = os.read(source, 64).decode()
    result = window.costs()
    hashed = [viewer for viewer in viewers if viewer.hashed and viewer.joined <= first]
    equal = sum(viewer.hashed.digest.hexdigest() == wanted for viewer in hashed)
    ends = {(viewer.joined * PACKET + viewer.offset) for viewer in viewers}
    result["viewers_to_the_same_end"] = sum(viewer.ended for viewer in viewers) if len(ends) == 1 else 0
    result["joining_points"] = len({viewer.joined for viewer in viewers})
    result["hashes_equal"] = f"{equal} of {len(hashed)}"
    seen = sorted(delays.seen)
    for name, part in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)]:
        result[f"delay_ms_{name}"] = round(seen[min(int(len(seen) * part), len(seen) - 1)], 1)
    result["ended_at_lag"] = f"{sum('lag behind the live edge' in line for line in server.lines)} of 1 that stopped"
    stopped.socket.close()
    result["exit_code"] = server.stop()
    return result


def until_later(seconds):
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def plain(options):
    rate = int(options.mbit * 1e6 / 8)
    with tempfile.NamedTemporaryFile(suffix=".ts", dir=options.folder) as film:
        size = int(rate * (options.seconds + options.settle + 60))
        piece = os.urandom(1 << 20)
        while film.tell() < size:
            film.write(piece)
        film.flush()
        server = Server(options.program, [film.name, "0", "--rate", str(rate)], subprocess.DEVNULL)
        viewers = []
        for number in range(options.viewers):
            viewers.append(Viewer(server, False))
            if number % 50 == 49:
                watch(viewers, until_later(0.1), lambda: None, Delays())
        window = Window(server, viewers, options.settle, options.seconds)
        watch(viewers, lambda: window.at_end is not None, window.tick, Delays())
        for viewer in viewers:
            viewer.socket.close()
        result = window.costs()
        server.stop()
        return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--viewers", type=int, default=500)
    parser.add_argument("--mbit", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--settle", type=float, default=3.0, help="seconds before counting begins")
    parser.add_argument("--lag", default="8M", help="what viewers may fall behind: they share a machine with what they try")
    parser.add_argument("--hashed", type=int, default=5, help="viewers that hash every byte")
    parser.add_argument("--folder", help="where the plain file is made")
    options = parser.parse_args()
    result = {"live": live(options), "file": plain(options)}
    ratio = result["live"]["server_cpu_s_per_gib"] / result["file"]["server_cpu_s_per_gib"]
    result["live_to_file_cpu"] = round(ratio, 2)
    result["load_average"] = os.getloadavg()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
