#!/usr/bin/env python3
"""Makes the table of ISOLATION.md: tries servers that people use, and ours, by `multiclient isolate --targets`.

usage: tests/isolation/table.py PROGRAM [--server PROGRAM] [--write] [--html FILE] [NAME...]

PROGRAM attacks; `--server` names another build of ours to be attacked. NAMEs are the rows to try; without them, all
are. With `--write`, those rows of the tables in ISOLATION.md are replaced; otherwise they are printed. The text below
the tables is left to whoever ran this: a line for it is printed. A server that is not installed is left out, with a
line that says so. Needs Debian's nginx, apache2-bin, lighttpd, nodejs, gcc, ffmpeg-doc and libavformat-dev, and for
the hosts of components:

    npm install --prefix tests/hosts
    cargo build --release --manifest-path tests/hosts/Cargo.toml
"""

import argparse
import itertools
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
HOSTS = HERE.parent / "hosts"
DOCUMENT = HERE.parent.parent / "ISOLATION.md"
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

NGINX = """daemon off; pid {root}/../nginx.pid; error_log stderr emerg; worker_processes 2;
events {{}}
http {{
  access_log off; default_type video/mp4; root {root};
  client_body_temp_path {root}/../body; proxy_temp_path {root}/../proxy; fastcgi_temp_path {root}/../fastcgi;
  uwsgi_temp_path {root}/../uwsgi; scgi_temp_path {root}/../scgi;
  server {{ listen 127.0.0.1:{port}; }}
}}
"""

# What Debian's package has: 150 workers or threads, 5 seconds of keep-alive, 20 to 40 for a header section.
APACHE = """ServerRoot {root}/..
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {root}/../apache.pid
ErrorLog {root}/../error.log
LoadModule mpm_{mpm}_module {modules}/mod_mpm_{mpm}.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule reqtimeout_module {modules}/mod_reqtimeout.so
User {user}
DocumentRoot {root}
Timeout 300
KeepAlive On
KeepAliveTimeout 5
MaxKeepAliveRequests 100
RequestReadTimeout header=20-40,minrate=500 body=10,minrate=500
MaxRequestWorkers 150
"""

LIGHTTPD = """server.document-root = "{root}"
server.port = {port}
server.bind = "127.0.0.1"
"""


def find(name):
    return shutil.which(name, path=PATH)


def configured(text, name, command, **values):
    """A command that writes a configuration with the port of this start, and then starts a server with it."""
    text = text.format(port="{port}", root="{root}", **values)
    return f"cat > {{root}}/../{name} <<'END'\n{text}END\nexec {command} {{root}}/../{name}"


def compiled(work, name, source, *flags):
    program = work / name
    subprocess.run(["cc", "-O2", "-w", "-o", program, source, *flags], check=True)
    return program


def ffmpeg_example(work):
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libavformat", "libavutil"], capture_output=True, text=True
    )
    sources = [f"/usr/share/doc/{name}/http_multiclient.c" for name in ("ffmpeg/examples", "libavformat-dev/examples")]
    sources = [source for source in sources if os.path.exists(source)]
    if flags.returncode or not sources or not find("cc"):
        return None
    return compiled(work, "http_multiclient", sources[0], *flags.stdout.split())


def servers(work, attacker, program):
    """The rows: a name, what the server needs, and how it is started and made to fail."""
    user = "www-data" if os.geteuid() == 0 else "#" + str(os.getuid())
    modules = "/usr/lib/apache2/modules"
    example, cc = ffmpeg_example(work), find("cc")
    if example:
        # The name of what it serves is the path as it was given.
        start = f"cd {{root}} && exec {example} film.mp4 http://127.0.0.1:{{port}}"
        yield "FFmpeg example", {"start": start}
    else:
        yield "FFmpeg example", None
    fork = cc and compiled(work, "fork", HERE / "fork.c")
    yield "fork per client", fork and {"start": f"exec {fork} {{port}} {{root}}/film.mp4", "crash": "GET /boom"}
    yield "nginx", find("nginx") and {"start": configured(NGINX, "nginx.conf", "nginx -e stderr -c")}
    for mpm in ("prefork", "event"):
        there = find("apache2") and os.path.exists(f"{modules}/mod_mpm_{mpm}.so")
        start = configured(APACHE, "apache.conf", "apache2 -D FOREGROUND -f", mpm=mpm, modules=modules, user=user)
        yield f"Apache {mpm}", there and {"start": start}
    yield "lighttpd", find("lighttpd") and {"start": configured(LIGHTTPD, "lighttpd.conf", "lighttpd -D -f")}
    yield "Python", {"start": f"exec {sys.executable} -m http.server {{port}} --bind 127.0.0.1 --directory {{root}}"}
    node = find("node")
    yield "Node", node and {
        "start": f"exec {node} {HERE}/server.mjs {{port}} {{root}}/film.mp4",
        "crash": "GET /boom", "hang": "GET /hang", "leak-memory": "GET /leak", "peek": "GET /peek",
    }
    faulty = work / "faulty.wasm"
    subprocess.run([attacker, "export-guest", "--faulty", "--output", faulty], check=True)
    yield "multiclient", {
        "start": f"exec {program} {{root}} {{port}} --quiet --guest {faulty}",
        "crash": "GET /!trap", "hang": "GET /!spin", "leak-memory": "GET /!grow", "peek": "GET /!peek",
    }


def hosts(work, attacker):
    """Hosts of components: each serves the same handler, which fails on request."""
    handlers = {world: work / f"faulty-{world}.wasm" for world in ("wasi-http", "wasi-http-0.3")}
    for world, handler in handlers.items():
        subprocess.run([attacker, "export-guest", "--faulty", world, "--output", handler], check=True)
    triggers = {"crash": "GET /!crash", "hang": "GET /!hang", "leak-memory": "GET /!leak", "peek": "GET /!peek"}
    jco = HOSTS / "node_modules/.bin/jco"
    for name, switches in [
        ("jco serve", ""),
        ("jco serve, instances", "--isolate-requests instance"),
        # Each worker serves one request. The usual 50, made anew after each, leave a small machine no time.
        ("jco serve, workers", "--isolate-requests worker --isolate-worker-pool-size 4"),
    ]:
        # What it makes of the component goes with the files of the run.
        start = f"FOLDER={{root}} exec {jco} serve {handlers['wasi-http']} --host 127.0.0.1 --port {{port}}"
        start += f" --jco-dir {{root}}/../jco --jco-import {HOSTS}/folder.mjs {switches}"
        yield name, jco.exists() and {"start": start.strip()} | triggers
    third = "cli,p3 -W component-model-async"
    for name, world, options in [
        ("wasmtime serve, wasi-http", "wasi-http", "cli"),
        ("wasmtime serve, wasi-http-0.3", "wasi-http-0.3", third),
        # By default it gives an instance of 0.3 up to 128 requests, 16 at a time.
        ("wasmtime serve, no reuse", "wasi-http-0.3", f"{third} --max-instance-reuse-count 1"),
    ]:
        start = f"exec wasmtime serve -S {options} --dir {{root}}::/ --addr 127.0.0.1:{{port}} {handlers[world]}"
        yield name, find("wasmtime") and {"start": start} | triggers
    host = HOSTS / "target/release/multiclient-hosts"
    for name, version, world, switches in [
        # wasmtime's crates in a small server, which makes a new instance for each request.
        ("wasmtime crates, wasi-http", "0.2", "wasi-http", ""),
        ("wasmtime crates, wasi-http-0.3", "0.3", "wasi-http-0.3", ""),
        ("wasmtime crates, limited turns", "0.2", "wasi-http", "turns"),
        # The control: the same server and the same component, but for the reuse.
        ("wasmtime crates, reused", "0.2", "wasi-http", "reuse turns"),
    ]:
        start = f"exec {host} {version} {handlers[world]} {{root}} {{port}} {switches}"
        yield name, host.exists() and {"start": start.strip()} | triggers


def toml(targets):
    text = ""
    for name, fields in targets.items():
        text += f"[{json.dumps(name)}]\n"
        text += "".join(f"{key} = {json.dumps(str(value))}\n" for key, value in fields.items())
    return text


WORDS = {"held": "held", "broken": "**broken**", "inconclusive": "inconclusive", "not tried": "–"}


def tables(report):
    """The lines of both tables: a row for each server, and one for each finding."""
    claims = [claim["claim"] for claim in report["targets"][0]["claims"]]
    verdicts = ["| server | " + " | ".join(f"`{claim}`" for claim in claims) + " |", "| --- |" + " --- |" * len(claims)]
    notes = ["| server | claim | verdict | what was seen | attackers spent |", "| --- | --- | --- | --- | --- |"]
    for target in report["targets"]:
        words = [WORDS[claim["verdict"]] for claim in target["claims"]]
        verdicts.append(f"| {target['name']} | " + " | ".join(words) + " |")
        for claim in target["claims"]:
            if claim["verdict"] in ("broken", "inconclusive"):
                effort = claim["effort"]
                spent = f"{effort['connections']} connections, {effort['bytes'] / 1024:.0f} KiB" if effort else "–"
                note = claim["note"].replace("|", "\\|")
                notes.append(f"| {target['name']} | `{claim['claim']}` | {claim['verdict']} | {note} | {spent} |")
    return verdicts, notes


def made(report):
    said = "; ".join(f"{target['name']}: {target['server']}" for target in report["targets"] if target["server"])
    machine = f"Linux {report['kernel']}, {report['cpus']} CPUs ({platform.machine()})"
    return f"Made with seed {report['seed']} on {machine}, in {report['seconds']:.0f} s. What servers say they are: {said}."


def merged(old, new, tried, order):
    """A table in which the rows of the servers that were tried are new."""
    def server(line):
        return line.split("|")[1].strip()

    rows = [line for line in old[2:] if server(line) not in tried] + new[2:]
    return new[:2] + sorted(rows, key=lambda line: order.index(server(line)))


def write(report, order):
    """Replaces the rows of a run in the document, and leaves the rest of it. `order` has the names of all rows."""
    before, rest = DOCUMENT.read_text().split("<!-- table -->\n", 1)
    verdicts, notes, text = rest.split("\n\n", 2)
    tried = [target["name"] for target in report["targets"]]
    new = [merged(old.split("\n"), lines, tried, order) for old, lines in zip((verdicts, notes), tables(report))]
    new = "\n\n".join("\n".join(lines) for lines in new)
    DOCUMENT.write_text(f"{before}<!-- table -->\n{new}\n\n{text}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--server")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--html")
    parser.add_argument("--seed", default="1")
    parser.add_argument("names", nargs="*")
    flags = parser.parse_intermixed_args()
    server = os.path.abspath(flags.server or flags.program)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        # A server that drops its privileges has to reach what is in it.
        work.chmod(0o755)
        targets, order = {}, []
        for name, fields in itertools.chain(servers(work, flags.program, server), hosts(work, flags.program)):
            order.append(name)
            if flags.names and name not in flags.names:
                continue
            if fields:
                targets[name] = fields
            else:
                print(f"left out: {name} is not installed", file=sys.stderr)
        file = work / "targets.toml"
        file.write_text(toml(targets))
        command = [flags.program, "isolate", "--json", "--seed", flags.seed, "--targets", file]
        command += ["--html", flags.html] if flags.html else []
        run = subprocess.run(command, stdout=subprocess.PIPE, env=os.environ | {"PATH": PATH})
        if not run.stdout:
            sys.exit(run.returncode)
        report = json.loads(run.stdout)
    if flags.write:
        write(report, order)
    else:
        print("\n\n".join("\n".join(lines) for lines in tables(report)) + "\n")
    print(made(report))


main()
