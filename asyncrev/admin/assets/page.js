// The live page: takes the figures from /live as they come, or asks /live.json, and shows them.

import { Plots } from "./plots.js";
import {
  bytes, bytesPerSecond, clock, duration, element, number, percent, seconds, table,
} from "./text.js";

const HISTORY_MS = 600_000;
const MOST_SAMPLES = 700;
const GAP_MS = 25_000; // a longer time without samples is a gap in the lines
const POLL_MS = 1000;
const AGAIN_MS = 30_000; // then a page that polls asks for a stream again
const QUIET_MS = 5000; // a stream without events for so long is none

const place = (id) => document.getElementById(id);
const plots = new Plots(place("plots"));

const samples = []; // [time in ms, {connections, ...} or null for a gap], of ten minutes
let newestMs = 0;
let stream = null;
let timer = null;
let streamAgainMs = 0;
let heardMs = Date.now();
let ticks = 0;

// -- what comes ----------------------------------------------------------------------------------

function take(text) {
  const told = JSON.parse(text);
  for (const [atMs, ...values] of told.samples) {
    if (atMs <= newestMs) {
      samples.length = 0; // another process, whose clock is behind
    } else if (samples.length && atMs - newestMs > GAP_MS) {
      samples.push([newestMs + 1, null]);
    }
    newestMs = atMs;
    samples.push([atMs, Object.fromEntries(told.series.map((name, index) => [name, values[index]]))]);
  }
  while (samples.length > MOST_SAMPLES || (samples.length && samples[0][0] < newestMs - HISTORY_MS)) {
    samples.shift();
  }
  heardMs = Date.now();
  show(told);
}

function listen() {
  stop();
  if (document.hidden) return; // a page that nobody sees holds no stream
  if (Date.now() < streamAgainMs || !window.EventSource) {
    poll();
    return;
  }
  const opened = new EventSource(`/live?after=${newestMs}`);
  stream = opened;
  heardMs = Date.now();
  opened.onmessage = (event) => {
    take(event.data);
    say("live");
  };
  opened.onerror = () => {
    // The browser opens a stream that has ended again by itself, but not one that was refused.
    if (opened.readyState === EventSource.CLOSED) fallBack();
  };
  timer = setInterval(() => {
    if (Date.now() - heardMs > QUIET_MS) fallBack();
  }, POLL_MS);
}

function fallBack() {
  streamAgainMs = Date.now() + AGAIN_MS;
  listen();
}

function stop() {
  stream?.close();
  stream = null;
  clearInterval(timer);
  clearTimeout(timer);
  timer = null;
}

async function poll() {
  const mine = {};
  stream = { close: () => (mine.isOver = true) };
  while (!mine.isOver && Date.now() < streamAgainMs) {
    try {
      const answer = await fetch(`/live.json?after=${newestMs}`, { signal: AbortSignal.timeout(4000) });
      if (!answer.ok) throw new Error(`${answer.status}`);
      const text = await answer.text();
      if (mine.isOver) return;
      take(text);
      say("live, by polling");
    } catch {
      if (!mine.isOver) say(`no answer since ${clock(heardMs / 1000)}`, true);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  if (!mine.isOver) listen();
}

function say(text, isBad = false) {
  const link = place("link");
  if (link.textContent !== text) link.textContent = text; // it is read aloud when it changes
  link.classList.toggle("bad", isBad);
  document.documentElement.dataset.link = isBad ? "lost" : text;
}

// -- what is shown -------------------------------------------------------------------------------

const sum = (rows, name) => {
  const known = rows.map((row) => row[name]).filter((value) => value != null);
  return known.length ? known.reduce((one, other) => one + other) : null;
};

const of = (value, limit) =>
  value == null || !limit ? "–" : percent((100 * value) / limit);

function show(told) {
  const { workers } = told;
  const up = workers.filter((row) => row.up);
  const total = (name) => sum(up, name);
  const limits = { ring: total("ring_entries_limit"), pool: total("pool_limit_bytes") };
  place("version").textContent = told.version;
  showState(workers, up);
  showTiles(told, total);
  plots.show(
    samples.map(([atMs]) => atMs / 1000),
    samples.map(([, sample]) => sample),
    limits,
  );
  showEnds(told.ends);
  showWorkers(workers, told.paused_by);
  document.documentElement.dataset.ticks = String((ticks += 1));
}

function showState(workers, up) {
  const states = new Set(workers.map((row) => (row.up ? row.state : "no answer")));
  const stuck = workers.some((row) => row.stuck.length);
  const full = up.length && up.every((row) => !row.accepting) && states.has("serving");
  const said = stuck ? "stuck" : full ? "not accepting" : [...states].join(", ");
  const state = place("state");
  if (state.textContent !== said) state.textContent = said;
  state.classList.toggle("bad", said !== "serving");
}

function showTiles(told, total) {
  const paused = told.paused_by.map((by) => [by, total(`paused_${by}`)]);
  const most = total("max_connections");
  const waiting = paused.filter(([, count]) => count).map(([by, count]) => `${by} ${number(count)}`);
  const latest = (name) => samples.at(-1)?.[1]?.[name];
  const tiles = [
    ["Connections", number(total("connections")), `of ${number(most)}`],
    ["Received", bytesPerSecond(total("received_bytes_per_s")), `${number(total("chunks_per_s"))} chunks/s`],
    ["Replied", bytesPerSecond(total("replied_bytes_per_s")), `${number(total("cpu_cores"), 2)} CPU cores`],
    ["Reply, p99", seconds(latest("reply_p99_s")), `p50 ${seconds(latest("reply_p50_s"))}`],
    [
      "Ring",
      of(total("ring_entries"), total("ring_entries_limit")),
      `${number(total("ring_entries"))} of ${number(total("ring_entries_limit"))} entries`,
    ],
    [
      "Buffer pool",
      of(total("pool_reserved_bytes"), total("pool_limit_bytes")),
      `${bytes(total("pool_reserved_bytes"))} of ${bytes(total("pool_limit_bytes"))}`,
    ],
    [
      "Reading paused",
      number(paused.reduce((all, [, count]) => all + (count ?? 0), 0)),
      waiting.length ? waiting.join(", ") : "nothing is waited for",
    ],
  ];
  place("tiles").replaceChildren(
    ...tiles.map(([name, value, more]) =>
      element(
        "div",
        {},
        element("dt", {}, name),
        element("dd", {}, element("b", {}, value), element("small", {}, more)),
      ),
    ),
  );
}

function showEnds(ends) {
  const rows = Object.entries(ends).sort((one, other) => other[1] - one[1]);
  place("ends").replaceChildren(
    rows.length
      ? table("Connections that the server ended, by reason, since it started", ["reason", "connections"],
          rows.map(([reason, count]) => [reason, number(count)]))
      : element("p", {}, "None since the start."),
  );
}

function showWorkers(workers, pausedBy) {
  const now = Date.now() / 1000;
  const heads = ["worker", "state", "connections", "received", "replied", "chunks/s", "reply p99", "ring", "pool"];
  heads.push("paused by", "CPU cores", "memory", "running for");
  const rows = workers.map((row) => {
    if (!row.up) return [row.worker, { text: row.why, className: "bad text" }];
    const paused = pausedBy.filter((by) => row[`paused_${by}`]);
    const state = row.stuck.length ? row.stuck.join("; ") : row.state;
    return [
      row.worker,
      { text: state, className: state === "serving" ? "text" : "bad text" },
      `${number(row.connections)} of ${number(row.max_connections)}`,
      bytesPerSecond(row.received_bytes_per_s),
      bytesPerSecond(row.replied_bytes_per_s),
      number(row.chunks_per_s),
      seconds(row.reply_p99_s),
      of(row.ring_entries, row.ring_entries_limit),
      of(row.pool_reserved_bytes, row.pool_limit_bytes),
      paused.map((by) => `${by} ${number(row[`paused_${by}`])}`).join(", ") || "–",
      number(row.cpu_cores, 2),
      bytes(row.resident_memory_bytes),
      duration(row.started_s == null ? null : now - row.started_s),
    ];
  });
  const scrolled = place("workers").scrollLeft;
  place("workers").replaceChildren(table("Worker processes, now", heads, rows));
  place("workers").scrollLeft = scrolled;
}

document.addEventListener("visibilitychange", listen);
addEventListener("pagehide", stop);
addEventListener("pageshow", (event) => event.persisted && listen());
listen();
