// A small static server of Node's `http`, as people write them, with a route whose handler fails. One of the rows of
// ISOLATION.md.
//
// usage: server.mjs PORT FILE
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const [port, path] = process.argv.slice(2);
const film = readFileSync(path);
const kept = [];
let lastCookie = "";

createServer((request, response) => {
    const cookie = lastCookie;
    lastCookie = request.headers.cookie ?? "";
    switch (request.url) {
        case "/film.mp4":
            break;
        case "/boom":
            // Outside of the handler's own call, as in a callback: nobody catches it.
            setTimeout(() => { throw new Error("boom"); });
            return;
        case "/hang":
            for (;;);
        case "/leak":
            kept.push(Buffer.alloc(1 << 20, 1));
            return response.end("leaked");
        case "/peek":
            // A variable of the module, which requests share.
            return response.end(cookie);
        default:
            return response.writeHead(404).end();
    }
    const part = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const [first, last] = part ? [Number(part[1]), Number(part[2])] : [0, film.length - 1];
    const body = film.subarray(first, last + 1);
    response.writeHead(part ? 206 : 200, { "Content-Length": body.length });
    response.end(request.method === "HEAD" ? undefined : body);
}).listen(Number(port), "127.0.0.1");
