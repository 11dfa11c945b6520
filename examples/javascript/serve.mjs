// Serves a folder through the session component, a fresh instance for each client:
// node serve.mjs session/session.js FOLDER [PORT]
import { open, readFile, realpath, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join, resolve, sep } from 'node:path';
import { setImmediate as immediate, setTimeout } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [transpiled, published, port = '0'] = process.argv.slice(2);
const { instantiate } = await import(pathToFileURL(resolve(transpiled)));
const folder = await realpath(published);
const CLIENTS = 1_000, RECEIVED_BYTES = 16_384, LINGER_MS = 1_000; // The limits.
const TIMEOUT_MS = { idle: 60_000, partial: 10_000 }, STALL_MS = 60_000;
const SETTINGS = {
  dialect: 'standard', listing: false, pages: false, headers: [], maxExchanges: 10_000, reports: true, secure: false,
  atCapacity: false,
};
const modules = {}; // Compiled once, instantiated for each client.
const compile = async (name) => WebAssembly.compile(await readFile(join(dirname(transpiled), name)));

async function live(client) {
  const { handler } = await instantiate((name) => (modules[name] ??= compile(name)), {}); // Nothing is imported.
  const [session, pieces] = [new handler.Session(SETTINGS), client.iterator({ destroyOnReturn: false })];
  const send = (bytes) => new Promise((sent, failed) => client.write(bytes, (why) => (why ? failed(why) : sent())));
  let [file, unread, began] = [undefined, Buffer.alloc(0), Date.now()];
  const receive = async (phase) => {
    // A request that has begun must be complete in time, however many pieces it comes in.
    began = phase === 'partial' ? (began ?? Date.now()) : undefined;
    client.setTimeout(Math.max(1, TIMEOUT_MS[phase] - (Date.now() - (began ?? Date.now()))));
    if (unread.length === 0) unread = (await pieces.next()).value ?? unread;
    client.setTimeout(STALL_MS);
    const val = unread.subarray(0, RECEIVED_BYTES);
    unread = unread.subarray(val.length);
    return val.length > 0 ? { tag: 'received', val } : { tag: 'finished' };
  };
  try {
    for (let event = await receive('partial'), actions; event; ) {
      [actions, event] = [session.advance(BigInt(Date.now()), event), undefined];
      for (const { tag, val } of actions) {
        if (tag === 'receive') event = await receive(val);
        if (tag === 'proceed') event = await immediate({ tag: 'proceeded' }); // After everybody else.
        if (tag === 'send') await send(val);
        if (tag === 'pass') await pass(file, val, send); // What is served does not enter the session.
        if (tag === 'report') console.log(val.request, val.status);
        if (tag === 'close') client.end();
        if (val === 'unread') await forget(pieces);
        if (tag === 'open') [file, event, began] = await find(Buffer.from(val).toString(), await file?.close());
      }
    }
  } finally {
    await file?.close();
  }
}

// Closing while bytes come is a reset, which can destroy the end of the response. It is bounded in time.
async function forget(pieces) {
  const enough = setTimeout(LINGER_MS, { done: true });
  while (!(await Promise.race([pieces.next(), enough])).done);
}

async function pass(file, { offset, count }, send) {
  for (let [at, left] = [Number(offset), Number(count)]; left > 0; ) {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(Math.min(left, 65_536)), { position: at });
    if (bytesRead === 0) throw new Error('the file has become shorter');
    await send(buffer.subarray(0, bytesRead));
    [at, left] = [at + bytesRead, left - bytesRead];
  }
}

async function find(name) {
  const never = name !== '' && name.split('/').some((part) => part === '' || part.startsWith('.'));
  const path = never ? '' : await realpath(join(folder, name)).catch(() => '');
  const facts = path === folder || path.startsWith(folder + sep) ? await stat(path, { bigint: true }) : undefined;
  const opened = (val, tag = 'ok') => ({ tag: 'opened', val: { tag, val } });
  if (facts?.isDirectory()) return [undefined, opened({ tag: 'folder' })];
  if (!facts?.isFile()) return [undefined, opened('not-found', 'err')];
  const val = { window: { start: 0n, end: facts.size, final: true }, version: `${facts.mtimeNs}-${facts.size}` };
  return [await open(path), opened({ tag: 'source', val: { ...val, modified: facts.mtimeMs } })];
}

const server = createServer({ allowHalfOpen: true }, (client) => {
  client.on('timeout', () => client.destroy());
  live(client).catch((why) => console.error(why.message)).finally(() => client.destroySoon());
});
server.maxConnections = CLIENTS;
server.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
