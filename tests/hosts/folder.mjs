// What a component under jco may read: the folder that FOLDER names, as its root.
import { _setPreopens } from "@bytecodealliance/preview2-shim/filesystem";

_setPreopens({ "/": process.env.FOLDER });
