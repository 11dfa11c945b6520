'use strict';
// Shows what `/events` tells once a second. Names of sources come from clients: they are only ever text, never markup.

const byId = id => document.getElementById(id);
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

function size(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < UNITS.length - 1) { bytes /= 1024; unit += 1; }
  return `${unit === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)} ${UNITS[unit]}`;
}

function time(micros) {
  if (micros < 1e3) return `${Math.round(micros)} µs`;
  if (micros < 1e6) return `${(micros / 1e3).toFixed(micros < 1e4 ? 1 : 0)} ms`;
  const seconds = Math.floor(micros / 1e6);
  const pad = number => String(number).padStart(2, '0');
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}:${pad(seconds % 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}:${pad(Math.floor(seconds / 60) % 60)} h`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds / 3600) % 24} h`;
}

const count = number => number.toLocaleString('en');

function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Facts as `[name, value, note, part of a whole]`.
function facts(list, all) {
  list.replaceChildren(...all.map(([name, value, note, part]) => {
    const fact = document.createElement('div');
    const said = element('dd', value);
    if (note) said.append(element('small', note));
    if (part !== undefined) {
      const bar = document.createElement('progress');
      bar.value = part;
      bar.setAttribute('aria-label', name);
      said.append(bar);
    }
    fact.append(element('dt', name), said);
    return fact;
  }));
}

let before = null;

function rates(server) {
  const now = { at: server.uptime_us, out: server.bytes_out, cpu: server.cpu_us, exchanges: server.exchanges };
  const past = before && now.at > before.at ? (now.at - before.at) / 1e6 : 0;
  const each = name => past ? (now[name] - before[name]) / past : 0;
  const rates = { out: each('out'), cpu: each('cpu'), exchanges: each('exchanges') };
  before = now;
  return rates;
}

function showServer(server) {
  const rate = rates(server);
  const limit = server.memory_limit;
  facts(byId('server'), [
    ['clients', count(server.clients), `of ${count(server.clients_limit)}`, server.clients / server.clients_limit],
    ['instances', count(server.instances), size(server.memory)],
    limit
      ? ['charged memory', size(server.charged), `of ${size(limit)}`, server.charged / limit]
      : ['charged memory', size(server.charged), 'no limit'],
    ['sending', `${size(rate.out)}/s`, `${size(server.bytes_out)} in all`],
    ['requests', `${rate.exchanges.toFixed(rate.exchanges < 10 ? 1 : 0)}/s`, `${count(server.exchanges)} in all`],
    ['CPU of guests', `${(rate.cpu / 1e4).toFixed(1)} %`, `${time(server.cpu_us)} in all`],
    ['memory of the process', server.resident === null ? 'unknown' : size(server.resident)],
    ['running for', time(server.uptime_us), server.version],
  ]);
}

function showStream(stream) {
  byId('live').hidden = !stream;
  if (!stream) return;
  byId('stream-name').textContent = stream.name + (stream.ended ? ' (has ended)' : '');
  facts(byId('stream'), [
    ['viewers', count(stream.viewers)],
    ['slowest viewer', stream.lag === null ? 'nobody' : size(stream.lag), stream.lag === null ? '' : 'behind the live edge'],
    ['received', size(stream.received)],
    ['kept', size(stream.buffered)],
  ]);
}

let known = null;

function row(client) {
  const made = document.createElement('tr');
  if (known && !known.has(client.client)) made.className = 'new';
  const cell = (name, text, className) => {
    const td = element('td', text, className);
    if (name) td.dataset.name = name;
    made.append(td);
    return td;
  };
  cell('', `#${client.client}`);
  cell('', client.peer ?? 'unix socket', 'address');
  const source = cell('', client.source === null ? (client.exchanges ? 'between requests' : 'nothing yet') : client.source,
    client.source === null ? 'source soft' : 'source');
  source.title = source.textContent;
  cell('rate', client.rate ? `${size(client.rate)}/s` : '–', 'n');
  cell('lag', client.lag === null ? '–' : size(client.lag), 'n');
  cell('sent', size(client.bytes_out), 'n');
  cell('memory', client.memory ? size(client.memory) : '–', 'n');
  cell('CPU', time(client.cpu_us), 'n');
  cell('connected', time(client.duration_us), 'n');
  return made;
}

function showClients(clients, all) {
  byId('clients').replaceChildren(...clients.map(row));
  byId('shown').textContent = clients.length < all ? `the ${clients.length} busiest of ${count(all)}` : '';
  byId('nobody').hidden = all > 0;
  known = new Set(clients.map(client => client.client));
}

// Clients that have left, one by one.
const LAST = 8;
const GOOD = ['finished', 'disconnected'];

function showEnds(ends) {
  const rows = (counts, className) => Object.entries(counts).filter(([, many]) => many > 0).map(([name, many]) => {
    const made = document.createElement('tr');
    if (className) made.className = className;
    made.append(element('td', name, GOOD.includes(name) ? '' : 'bad'), element('td', count(many), 'n'));
    return made;
  });
  const all = rows(ends.by_kind);
  byId('kinds').replaceChildren(...all, ...rows(ends.by_which, 'sub'));
  byId('no-ends').hidden = all.length > 0;
  byId('last').replaceChildren(...ends.last.slice(0, LAST).map(gone => {
    const made = document.createElement('tr');
    made.append(element('td', `#${gone.client}`), element('td', gone.ended, gone.ordinary ? '' : 'bad'),
      element('td', size(gone.bytes_out), 'n'), element('td', time(gone.duration_us), 'n'));
    return made;
  }));
}

function state(text, className) {
  byId('state').textContent = text;
  byId('state').className = className;
}

function show(event) {
  const { server, stream, clients, ends } = JSON.parse(event.data);
  showServer(server);
  showStream(stream);
  showClients(clients, server.clients);
  showEnds(ends);
  state(server.ready ? 'serving' : 'about to stop', server.ready ? 'good' : 'bad');
}

function listen() {
  const events = new EventSource('events');
  events.onmessage = show;
  events.onerror = () => {
    state('no answer; trying again', 'bad');
    events.close();
    setTimeout(listen, 2000);
  };
}

listen();
