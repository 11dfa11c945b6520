#!/usr/bin/env python3
"""What TLS costs a server: CPU time and memory, beside nginx.

    cargo build --release
    chrt -r 5 tests/bench/tls.py target/release/multiclient nginx

CPU time is that of all threads of the server, as the kernel counts it. The client is Python's, which is slow: only what
the server spends is measured. Both servers have the same certificate (ECDSA, P-256) and speak TLS 1.3 with AES-128-GCM.
Rounds of the servers alternate, and the table has medians. `--plain` measures without TLS.
"""

import argparse
import contextlib
import os
import pathlib
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import tempfile
import time

NGINX = """worker_processes 1; daemon off; pid {work}/nginx.pid; error_log {work}/error.log emerg;
events {{ worker_connections 4000; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_timeout 600s; keepalive_requests 1000000;
  client_body_temp_path {work}/a; proxy_temp_path {work}/b; fastcgi_temp_path {work}/c;
  uwsgi_temp_path {work}/d; scgi_temp_path {work}/e;
  server {{ listen 127.0.0.1:{port} {ssl}; root {root}; {keys} }}
}}
"""
# The cipher that the other server picks, and sessions that can be resumed.
CIPHER = "ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_session_cache shared:sessions:10m;"
SMALL, LARGE = 1024, 64 << 20
CONNECTIONS, REQUESTS, DOWNLOADS, IDLE = 500, 5000, 4, 1000


class Place:
    """Files to serve, and keys."""

    def __init__(self, path):
        self.root, self.chain, self.key = path / "root", path / "chain.pem", path / "key.pem"
        self.root.mkdir()
        (self.root / "small").write_bytes(os.urandom(SMALL))
        (self.root / "large").write_bytes(os.urandom(LARGE))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"]
            + ["-subj", "/CN=localhost", "-keyout", self.key, "-out", self.chain],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        path.chmod(0o755)


class Server:
    """A server that runs."""

    def __init__(self, program, place, plain):
        self.work = pathlib.Path(tempfile.mkdtemp())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.plain = plain
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if os.path.basename(program) == "nginx":
            keys = "" if plain else f"ssl_certificate {place.chain}; ssl_certificate_key {place.key}; {CIPHER}"
            words = {"work": self.work, "port": self.port, "root": place.root, "keys": keys, "ssl": "" if plain else "ssl"}
            (self.work / "config").write_text(NGINX.format(**words))
            command = [program, "-p", self.work, "-c", self.work / "config", "-g", "user root;"]
        else:
            command = [program, place.root, f"{'http' if plain else 'https'}://127.0.0.1:{self.port}", "--log", "off"]
            command += ["--max-clients", "4000", "--max-exchanges", "1000000", "--idle-timeout", "10m", "-q"]
            command += ["--header-timeout", "10m", "--defer-accept", "0"]
            command += [] if plain else ["--cert", place.chain, "--key", place.key]
        self.process = subprocess.Popen(command, **silent)
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                break
            time.sleep(0.05)

    def processes(self):
        """The server's processes: those of nginx' workers, too."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def cpu(self):
        """Nanoseconds of CPU time so far."""
        tasks = (task for pid in self.processes() for task in pathlib.Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    def memory(self):
        """Bytes that are its own."""
        lines = (
            line
            for pid in self.processes()
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            if line.startswith("Pss:")
        )
        return sum(int(line.split()[1]) << 10 for line in lines)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.work)


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def connect(server, trust, session=None):
    stream = socket.create_connection(("127.0.0.1", server.port))
    if server.plain:
        return stream
    return trust.wrap_socket(stream, server_hostname="localhost", session=session)


def get(stream, name, close=False):
    """Reads a whole response into nothing."""
    end = "Connection: close\r\n" if close else ""
    stream.sendall(f"GET /{name} HTTP/1.1\r\nHost: localhost\r\n{end}\r\n".encode())
    seen = b""
    while b"\r\n\r\n" not in seen:
        seen += stream.recv(65536)
    head, body = seen.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200"), head
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    left, room = length - len(body), memoryview(bytearray(1 << 20))
    while left > 0:
        left -= stream.recv_into(room[: min(left, len(room))])


def spent(server, work):
    """CPU time of the server while this is done, in nanoseconds. What ends with it is counted, too."""
    before = server.cpu()
    work()
    time.sleep(0.1)
    return server.cpu() - before


def handshakes(server, trust, resume):
    session = None

    def work():
        nonlocal session
        for _ in range(CONNECTIONS):
            with connect(server, trust, session) as stream:
                get(stream, "small", close=True)
                if resume and not server.plain:
                    assert session is None or stream.session_reused, "the session was not resumed"
                    session = stream.session

    return spent(server, work) / CONNECTIONS / 1e3


def keep_alive(server, trust):
    with connect(server, trust) as stream:
        get(stream, "small")
        return spent(server, lambda: [get(stream, "small") for _ in range(REQUESTS)]) / REQUESTS / 1e3


def bulk(server, trust):
    with connect(server, trust) as stream:
        get(stream, "small")
        took = spent(server, lambda: [get(stream, "large") for _ in range(DOWNLOADS)])
    return took / 1e6 / (DOWNLOADS * LARGE / (1 << 30))


def idle(server, trust, ask):
    """KiB for each of many connections that are silent, after a request or before any."""
    before = server.memory()
    with contextlib.ExitStack() as held:
        for _ in range(IDLE):
            stream = held.enter_context(connect(server, trust))
            if ask:
                get(stream, "small")
        time.sleep(0.5)
        return (server.memory() - before) / IDLE / 1024


def stalled(server, trust):
    """KiB for each of many connections whose clients read nothing of a large response."""
    before = server.memory()
    with contextlib.ExitStack() as held:
        for _ in range(IDLE // 4):
            stream = held.enter_context(connect(server, trust))
            stream.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        time.sleep(1.5)
        return (server.memory() - before) / (IDLE // 4) / 1024


MEASURES = {
    "new connection, GET of 1 KiB, close (us)": lambda server, trust: handshakes(server, trust, False),
    "the same, session resumed (us)": lambda server, trust: handshakes(server, trust, True),
    "GET of 1 KiB on an open connection (us)": keep_alive,
    "download (ms per GiB)": bulk,
    "memory, silent after the handshake (KiB)": lambda server, trust: idle(server, trust, False),
    "memory, silent after a response (KiB)": lambda server, trust: idle(server, trust, True),
    "memory, stalled (KiB)": stalled,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", help="programs, or NAME=PROGRAM")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plain", action="store_true")
    flags = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    programs = {name.split("=")[0].rsplit("/")[-1]: shutil.which(name.split("=")[-1]) for name in flags.servers}
    results = {name: {measure: [] for measure in MEASURES} for name in programs}
    with tempfile.TemporaryDirectory() as folder:
        place = Place(pathlib.Path(folder))
        for _ in range(flags.rounds):
            for name, program in programs.items():
                for measure, act in MEASURES.items():
                    server = Server(program, place, flags.plain)
                    try:
                        trust = context()
                        with connect(server, trust) as stream:
                            get(stream, "large")
                        results[name][measure].append(act(server, trust))
                    finally:
                        server.stop()
    print("| |" + "|".join(f" {name} " for name in programs) + "|")
    print("| --- |" + " ---: |" * len(programs))
    for measure in MEASURES:
        print(f"| {measure} |" + "|".join(f" {statistics.median(results[name][measure]):.1f} " for name in programs) + "|")


main()
