#!/usr/bin/env python3
"""How long a viewer of a live stream waits for the first picture, beside Icecast where that is installed.

    cargo build --release
    tests/bench/first_frame.py target/release/multiclient

FFmpeg produces a stream with a key frame each second. Viewers join one after the other, at random times, after
the beginning has left the buffer. Each is an FFmpeg of its own that decodes one picture and ends; its time is
that of its whole process, from the start to the end. How long FFmpeg takes for a file that has the picture at
its beginning is in the first row: that is no server's time. All servers begin 64 KiB before the live edge.

Prints a table in Markdown.
"""

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PICTURE = "-re -f lavfi -i testsrc2=size=320x180:rate=25 -g 25 -b:v 800k -threads 1".split()
VP8 = "-c:v libvpx -deadline realtime -cpu-used 8".split()
H264 = "-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p".split()
# By default FFmpeg keeps up to five seconds of WebM back for each cluster.
WEBM = [*VP8, "-cluster_time_limit", "1000", "-flush_packets", "1", "-f", "webm"]
TS = [*H264, "-flush_packets", "1", "-f", "mpegts"]
BURST = 64 << 10
FILL_S = 12  # until the beginning has left a buffer of 512 KiB
PASSWORD = "measured"

ICECAST = """<icecast>
<limits><burst-size>{burst}</burst-size><queue-size>524288</queue-size></limits>
<authentication><source-password>{password}</source-password><admin-password>{password}</admin-password></authentication>
<hostname>127.0.0.1</hostname>
<listen-socket><bind-address>127.0.0.1</bind-address><port>{port}</port></listen-socket>
<paths><logdir>{folder}</logdir><webroot>/usr/share/icecast2/web</webroot>
<adminroot>/usr/share/icecast2/admin</adminroot></paths>
<logging><accesslog>-</accesslog><errorlog>-</errorlog></logging>
<security><changeowner><user>nobody</user><group>nogroup</group></changeowner></security>
</icecast>
"""


def ffmpeg(*words):
    return ["ffmpeg", "-v", "error", "-nostdin", *words]


def multiclient(program, format, name, running):
    """Serves a live stream, and gives its URL."""
    producer = subprocess.Popen(ffmpeg(*PICTURE, *format, "-"), stdout=subprocess.PIPE)
    words = [program, "-", "0", "--as", f"/{name}", "--buffer", "512K", "--burst", str(BURST), "--join", "burst"]
    server = subprocess.Popen(words, stdin=producer.stdout, stderr=subprocess.PIPE, text=True)
    producer.stdout.close()
    running += [server, producer]
    for line in server.stderr:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            # Its log must not fill the pipe.
            threading.Thread(target=server.stderr.read, daemon=True).start()
            return f"{found[0]}/{name}"
    sys.exit(f"{program} did not start")


def icecast(program, folder, port, running):
    """Serves the WebM with Icecast, and gives its URL."""
    settings = Path(folder, "icecast.xml")
    settings.write_text(ICECAST.format(burst=BURST, password=PASSWORD, port=port, folder=folder))
    for path in (Path(folder), settings):
        path.chmod(0o755)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running.append(subprocess.Popen([program, "-c", settings], **quiet))
    time.sleep(2)
    target = f"icecast://source:{PASSWORD}@127.0.0.1:{port}/live.webm"
    running.append(subprocess.Popen(ffmpeg(*PICTURE, *WEBM, "-content_type", "video/webm", target), **quiet))
    return f"http://127.0.0.1:{port}/live.webm"


def first_frame(url):
    """Seconds until a picture is decoded, or None: FFmpeg found none within ten seconds."""
    began = time.monotonic()
    decode = ffmpeg("-fflags", "nobuffer", "-analyzeduration", "0", "-i", url, "-frames:v", "1", "-f", "framecrc", "-")
    try:
        output = subprocess.run(decode, capture_output=True, text=True, timeout=10).stdout
    except subprocess.TimeoutExpired:
        return None
    pictures = [line for line in output.splitlines() if not line.startswith("#")]
    return time.monotonic() - began if pictures else None


def measure(url, joins):
    times = []
    for _ in range(joins):
        time.sleep(random.uniform(0, 1))
        times.append(first_frame(url))
    return times


def row(what, times):
    seen = sorted(seconds for seconds in times if seconds is not None)
    at = lambda share: f"{seen[min(len(seen) - 1, int(share * len(seen)))] * 1000:.0f} ms" if seen else "-"
    print(f"| {what} | {len(seen)} of {len(times)} | {at(0.5)} | {at(0.99)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the multiclient to measure, a release build")
    parser.add_argument("--joins", type=int, default=40)
    parser.add_argument("--icecast-port", type=int, default=18_743)
    args = parser.parse_args()
    running = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            compare(args, folder, running)
        finally:
            for process in running:
                process.kill()
                process.wait()


def compare(args, folder, running):
    urls = {
        "multiclient, WebM (VP8)": multiclient(args.program, WEBM, "live.webm", running),
        "multiclient, MPEG-TS (H.264)": multiclient(args.program, TS, "live.ts", running),
    }
    if program := shutil.which("icecast2", path="/usr/bin:/usr/local/bin"):
        urls["Icecast, WebM (VP8)"] = icecast(program, folder, args.icecast_port, running)
    file = str(Path(folder, "file.webm"))
    encode = [word for word in PICTURE if word != "-re"]
    subprocess.run(ffmpeg(*encode, *WEBM[:-2], "-t", "1", file), check=True)
    time.sleep(FILL_S)
    print("| stream | pictures | p50 | p99 |\n| --- | ---: | ---: | ---: |")
    row("no server: a WebM file", measure(file, args.joins))
    for what, url in urls.items():
        row(what, measure(url, args.joins))


if __name__ == "__main__":
    main()
