#!/usr/bin/env python3
"""What floods of each kind do to the memory of a server, and to a client that means well.

    cargo build --release
    tests/bench/floods.py target/release/multiclient

For each flood the server is started afresh. A crowd connects on loopback, asks for something, reads nothing of it and
stays for some seconds; then it is gone at once. Meanwhile another process asks for a small file, on a new connection
each time. The table has the resident memory before, at its peak and five seconds after the crowd has gone, how long
that client waited, and how many of its requests got no file.

nginx takes part in what it can do, with as many connections allowed. Another build takes part with NAME=PROGRAM.
"""

import argparse
import contextlib
import multiprocessing
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

NAMES = 4096
SMALL = b"small" * 200
PLACES = 1000  # clients at once, for both servers
PAUSE_S = 0.005  # between two requests of the client that means well

NGINX = """worker_processes 1; daemon off; pid {work}/nginx.pid; error_log {work}/error.log emerg;
events {{ worker_connections {places}; }}
http {{
  access_log off; sendfile on; autoindex on; keepalive_timeout 60s;
  client_body_temp_path {work}/a; proxy_temp_path {work}/b; fastcgi_temp_path {work}/c;
  uwsgi_temp_path {work}/d; scgi_temp_path {work}/e;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


# A live source of 20 Mbit/s: slow enough to share a machine with the crowd.
PRODUCER = """import sys, time
while True:
    sys.stdout.buffer.write(b"x" * 25000)
    sys.stdout.flush()
    time.sleep(0.01)
"""


def get(path, *fields):
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *fields, "", ""]).encode()


# As many as zsync asks for.
RANGES = ",".join(f"{n * 3000000}-{n * 3000000 + 200000}" for n in range(20))
LARGE = "\r\n".join(f"X-{n}: {'x' * 1000}" for n in range(15))
# What each client of a crowd sends, how many there are, and what the server is started with.
FLOODS = {
    "nobody": ([], 0, []),
    "listings of 4,096 long names": ([get("/names/")], 900, []),
    "half a request of 15 KiB": ([get("/small", LARGE)[:-2]], 900, []),
    "20 ranges of 200 KB": ([get("/large", "Range: bytes=" + RANGES)], 900, []),
    "20 requests each, recorded": ([get("/small") * 20], 900, ["--record", "--capsules", "{work}"]),
    "viewers of a live source": ([get("/live")], 900, None),
    "connected, silent": ([], 2000, []),
    "silent after a response": ([get("/small")], 2000, []),
}


class Server:
    """A server, until it is dropped. What it is started with may have `{work}` in it."""

    def __init__(self, program, place, flags):
        self.work = tempfile.mkdtemp(dir=place.path)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.producer = None
        self.process = self.start(program, place, flags)
        self.wait()

    def start(self, program, place, flags):
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if os.path.basename(program) == "nginx":
            config = NGINX.format(work=self.work, places=PLACES, port=self.port, root=place.root)
            pathlib.Path(self.work, "config").write_text(config)
            return subprocess.Popen([program, "-c", f"{self.work}/config"], **silent)
        common = [str(self.port), "--max-clients", str(PLACES), "--log", "off"]
        if flags is None:
            self.producer = subprocess.Popen([sys.executable, "-c", PRODUCER], stdout=subprocess.PIPE)
            source = ["pipe:0", *common, "--as", "/live"]
            return subprocess.Popen([program, *source], stdin=self.producer.stdout, **silent)
        flags = [flag.format(work=self.work) for flag in flags]
        source = [str(place.root), *common, "--list", *flags]
        return subprocess.Popen([program, *source], stdin=subprocess.DEVNULL, **silent)

    def wait(self):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                time.sleep(0.5)
                return
            time.sleep(0.02)
        sys.exit("a server does not start")

    def pids(self):
        pid = self.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def mib(self, field):
        """Of all its processes together, in MiB; VmRSS, or VmHWM for the most that there was."""
        total = 0
        for pid in self.pids():
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(field + ":"):
                    total += int(line.split()[1])
        return total / 1024

    def stop(self):
        for process in filter(None, [self.process, self.producer]):
            process.send_signal(signal.SIGKILL if process is self.producer else signal.SIGTERM)
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                for pid in self.pids():
                    os.kill(pid, signal.SIGKILL)
                process.wait()


class Place:
    """What is served."""

    def __init__(self, path):
        self.path, self.root = path, pathlib.Path(path, "root")
        (self.root / "names").mkdir(parents=True)
        (self.root / "small").write_bytes(SMALL)
        with open(self.root / "large", "wb") as large:
            large.truncate(64 << 20)
        for number in range(NAMES):
            (self.root / "names" / f"{number:04}-{'n' * 240}").touch()


def well_meaning(port, path, stop, results):
    """Asks again and again for a small file, or the first bytes of a live source. Sends times, and the number of
    requests that got something else."""
    times, failed = [], 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", port), 30) as connection:
                connection.sendall(get(path, "Connection: close"))
                response = b""
                while piece := connection.recv(65536):
                    response += piece
                    if path == "/live" and b"xxxx" in response:
                        break
            is_served = response.startswith(b"HTTP/1.1 200 ") and (path == "/live" or response.endswith(SMALL))
        except OSError:
            is_served = False
        times.append((time.monotonic() - began) * 1000)
        failed += not is_served
        time.sleep(PAUSE_S)
    results.put((sorted(times), failed))


def crowd_of(port, says, count):
    crowd = []
    for _ in range(count):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
        # The server may be full, or have gone.
        with contextlib.suppress(OSError):
            connection.settimeout(5)
            connection.connect(("127.0.0.1", port))
            for text in says:
                connection.sendall(text)
        crowd.append(connection)
    return crowd


def flood(program, place, name, seconds):
    says, count, flags = FLOODS[name]
    server = Server(program, place, flags)
    before = server.mib("VmRSS")
    stop, results = multiprocessing.Event(), multiprocessing.Queue()
    path = "/live" if flags is None else "/small"
    client = multiprocessing.Process(target=well_meaning, args=(server.port, path, stop, results))
    client.start()
    crowd = crowd_of(server.port, says, count)
    time.sleep(seconds)
    stop.set()
    times, failed = results.get()
    client.join()
    for connection in crowd:
        connection.close()
    time.sleep(5)
    is_alive = server.process.poll() is None
    row = [before, server.mib("VmHWM"), server.mib("VmRSS")] if is_alive else [before, float("nan"), float("nan")]
    server.stop()
    p99 = times[min(len(times) - 1, len(times) * 99 // 100)]
    return "| {} | {} | {:.1f} | {:.1f} | {:.1f} | {:.1f} | {:.0f} | {} of {} |".format(
        f"{count} × {name}" if count else name, "{}", *row, p99, times[-1], failed, len(times)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="+", help="PROGRAM, or NAME=PROGRAM for each build")
    parser.add_argument("--seconds", type=float, default=5.0, help="for which a crowd stays")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    servers = [tuple(word.split("=", 1)) if "=" in word else ("ours", word) for word in options.program]
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if nginx:
        servers.append(("nginx", nginx))
    print("| crowd | server | before, MiB | peak, MiB | 5 s after, MiB | wait p99, ms | worst, ms | not served |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as path:
        # A worker of nginx is another user.
        os.chmod(path, 0o755)
        place = Place(path)
        for name, (_, _, flags) in FLOODS.items():
            for label, program in servers:
                if flags == [] or os.path.basename(program) != "nginx":
                    print(flood(program, place, name, options.seconds).format(label), flush=True)


if __name__ == "__main__":
    main()
