"""Runs multiclient-inetd once, with a file for each of stdin and stdout, and a folder as its root.

    python inetd.py COMPONENT FOLDER IN OUT
"""

import sys

from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Linker

component, folder, stdin, stdout = sys.argv[1:]
engine = Engine()
linker = Linker(engine)
linker.add_wasip2()
wasi = WasiConfig()
wasi.argv = ["multiclient-inetd"]
wasi.stdin_file = stdin
wasi.stdout_file = stdout
wasi.preopen_dir(folder, "/")
store = Store(engine)
store.set_wasi(wasi)
instance = linker.instantiate(store, Component.from_file(engine, component))
# The version is that of Rust's standard library, and another with each.
world = next(i for v in range(100) if (i := instance.get_export_index(store, f"wasi:cli/run@0.2.{v}")))
run = instance.get_func(store, instance.get_export_index(store, "run", world))
sys.exit(0 if run(store).tag == "ok" else 1)
