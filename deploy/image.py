#!/usr/bin/env python3
"""Writes an image again without what is random in it: `image.py FROM TO`, both archives of `docker save`'s format.

Buildah writes the identity and the host name of the container that it built in into the image's configuration, and by
its hash into the names of files. Nothing reads them. What is written has the layers as they were, the configuration
without those fields, and the manifest; neither has the list for Docker before 1.10.
"""

import hashlib
import io
import json
import sys
import tarfile


def read(archive, name):
    return archive.extractfile(name).read()


def compact(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def main(old, new):
    with tarfile.open(old) as archive:
        [image] = json.loads(read(archive, "manifest.json"))
        config = json.loads(read(archive, image["Config"]))
        layers = {name: read(archive, name) for name in image["Layers"]}
    for field in ("container", "container_config"):
        config.pop(field, None)
    config["config"].pop("Hostname", None)
    text = compact(config)
    image["Config"] = hashlib.sha256(text).hexdigest() + ".json"
    with tarfile.open(new, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in {image["Config"]: text, **layers, "manifest.json": compact([image])}.items():
            # Of nobody, and without a time.
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))


main(*sys.argv[1:])
