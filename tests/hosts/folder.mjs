// What a component under jco may read: the folder that FOLDER names, as its root.
import process from "node:process";
import { _setPreopens } from "@bytecodealliance/preview2-shim/filesystem";

_setPreopens({ "/": process.env.FOLDER });

// `jco run` ends its process as soon as the component returns, and Node drops what a slow client has not taken from
// stdout by then. So the end waits for the last byte.
const exit = process.exit;
process.exit = (code) => process.stdout.write("", () => exit.call(process, code));
