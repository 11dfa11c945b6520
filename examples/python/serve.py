"""Serves a folder through the session component: python serve.py SESSION.wasm FOLDER [PORT]

A thread and a fresh instance for each client. The session says what to do, and `live` does it.
"""
import os, socket, socketserver, sys, threading, time
from pathlib import Path
from types import SimpleNamespace as Record
from wasmtime import Config, Engine, Store
from wasmtime.component import Component, Linker, Variant, _types

# wasmtime-py guesses the case of a variant from the class of its value, and takes a refusal for a folder.
# With this every case is written out, as in Variant("err", "not-found").
_types.VariantLikeType._tagged = lambda self: True

MEMORY, TICK_S, TICKS, STALL_S, LINGER_S = 8 << 20, 0.01, 10, 60, 1  # The limits of one client.
TIMEOUT_S = {"idle": 60, "partial": 10}
SETTINGS = Record(**{"dialect": "standard", "home": Variant("none"), "listing": False, "pages": False,
                     "headers": [], "cors": Variant("none"), "max-exchanges": 10_000, "reports": True,
                     "secure": False, "at-capacity": False})
config = Config()
config.epoch_interruption = True  # A session that computes for TICKS ticks at once traps, and no other does.
engine = Engine(config)
component, folder = Component.from_file(engine, sys.argv[1]), Path(sys.argv[2]).resolve()

def live(client, *_):
    store, file, began = Store(engine), None, time.monotonic()
    event = receive(client, TIMEOUT_S["partial"])
    store.set_limits(memory_size=MEMORY)
    store.set_epoch_deadline(TICKS)
    instance = Linker(engine).instantiate(store, component)  # The linker is empty: nothing is imported.
    handler = instance.get_export_index(store, "multiclient:session/handler@0.1.0")
    new, advance = (instance.get_func(store, instance.get_export_index(store, name, handler))
                    for name in ("[constructor]session", "[method]session.advance"))
    session = new(store, SETTINGS)
    while event:
        store.set_epoch_deadline(TICKS)
        actions, event = advance(store, session, int(time.time() * 1000), event), None
        for action in actions:
            match action.tag, action.payload:
                case "receive", phase:  # A request that has begun must be complete in time.
                    began = (began or time.monotonic()) if phase == "partial" else None
                    event = receive(client, TIMEOUT_S[phase] - (time.monotonic() - began if began else 0))
                case "proceed", _:  # Other clients have threads of their own.
                    event = Variant("proceeded")
                case "open", name:
                    began = None
                    file, found = find(name)
                    event = Variant("opened", found)
                case "send", data:
                    client.sendall(data)
                case "pass", span:  # By `sendfile`: what is served enters neither the session nor Python.
                    if span.count and client.sendfile(file, span.offset, span.count) < span.count:
                        raise EOFError("the file has become shorter")
                case "report", exchange:
                    print(exchange.request, exchange.status, flush=True)
                case "close", "unread":  # Closing while bytes come is a reset, which can destroy the response.
                    client.shutdown(socket.SHUT_WR)
                    end = time.monotonic() + LINGER_S
                    while (left := end - time.monotonic()) > 0 and (client.settimeout(left) or client.recv(65_536)):
                        pass

def receive(client, timeout):
    client.settimeout(max(timeout, 0.001))
    data = client.recv(4096)
    client.settimeout(STALL_S)
    return Variant("received", data) if data else Variant("finished")

def find(name):
    never = name and any(part[:1] in (b"", b".") or b"\0" in part for part in name.split(b"/"))
    path = folder if never else (folder / os.fsdecode(name)).resolve()
    if never or not path.is_relative_to(folder) or not (path.is_file() or path.is_dir()):
        return None, Variant("err", "not-found")
    if path.is_dir():
        return None, Variant("ok", Variant("folder"))
    file = path.open("rb")
    stat = os.fstat(file.fileno())
    return file, Variant("ok", Variant("source", Record(**{
        "window": Record(start=0, end=stat.st_size, final=True), "modified": Variant("some", stat.st_mtime_ns // 10**6),
        "version": f"{stat.st_mtime_ns:x}-{stat.st_size:x}", "media-type": Variant("none")})))

socketserver.TCPServer.allow_reuse_address = socketserver.ThreadingTCPServer.daemon_threads = True
server = socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[3]) if len(sys.argv) > 3 else 0), live)
server.handle_error = lambda client, address: print("ended:", sys.exc_info()[1], flush=True)
print(f"http://127.0.0.1:{server.server_address[1]}/", flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
while time.sleep(TICK_S) is None:
    engine.increment_epoch()
