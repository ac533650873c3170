// Keeps the status page current: requests the devices that have changed once a second and updates their rows.
// The server formats the texts, the template has the markup. What devices send is only ever set as text.
"use strict";

const PERIOD = 1000, TIMEOUT = 5000; // milliseconds
const MAX_NEWS = 3;

const source = new URL("devices.json", document.currentScript.src);
const connection = document.getElementById("connection");
const news = document.getElementById("news");
const tbody = document.querySelector("tbody");
const template = document.querySelector("template").content;

const rows = new Map(); // by the device's id
const results = new Map(); // the number of each device's last result
let revision = 0; // that the rows have; 0: ask for all devices
let started = null; // when the server started
let clockOffset = 0; // of the server, milliseconds

for (const row of tbody.rows) {
  rows.set(Number(row.dataset.id), row);
}

function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

function age(time) {
  const seconds = Math.max(0, (Date.now() + clockOffset - Date.parse(time)) / 1000);
  for (const [unit, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= unit) {
      return `${Math.floor(seconds / unit)} ${name} ago`;
    }
  }
  return `${Math.floor(seconds)} s ago`;
}

function showAges() {
  for (const time of tbody.querySelectorAll("time")) {
    setText(time, age(time.dateTime));
  }
}

function newRow(id) {
  const row = template.querySelector("tr").cloneNode(true);
  row.dataset.id = id;
  rows.set(id, row);
  return row;
}

function showDevice(device) {
  const row = rows.get(device.id) ?? newRow(device.id);
  row.className = device.state;
  for (const [name, text] of Object.entries(device.text)) {
    setText(row.querySelector(`.${name}`), text);
  }
  const time = row.querySelector("time");
  time.dateTime = time.title = device.last_request;
  const bar = row.querySelector("progress");
  const { sent, size } = device.transfer ?? device.result;
  bar.max = size || 1;
  bar.value = sent;
  bar.setAttribute("aria-label", device.text.path);
}

// In the server's order: active devices first, then the latest request.
function sortRows() {
  const keys = new Map();
  for (const [id, row] of rows) {
    const isActive = Number(row.className === "active");
    keys.set(row, `${isActive} ${row.querySelector("time").dateTime} ${String(id).padStart(16, "0")}`);
  }
  [...rows.values()].sort((a, b) => (keys.get(a) < keys.get(b) ? 1 : -1)).forEach((row, index) => {
    if (tbody.rows[index] !== row) {
      tbody.insertBefore(row, tbody.rows[index]);
    }
  });
}

// Screen readers read results, not each percent.
function announce(devices) {
  const ended = devices.filter(({ id, result }) => result && results.get(id) !== result.number);
  for (const { id, result } of ended) {
    results.set(id, result.number);
  }
  if (revision && ended.length) {
    const texts = ended.slice(0, MAX_NEWS).map(({ state, text }) =>
      `${text.address}: ${state === "active" ? "" : `${text.path}: `}${text.result}`); // an active one's has the path
    if (ended.length > MAX_NEWS) {
      texts.push(`${ended.length - MAX_NEWS} more`);
    }
    setText(news, texts.join(", "));
  }
}

// Forget devices that the server has forgotten; `devices` are all that it has.
function keepOnly(devices) {
  const ids = new Set(devices.map(({ id }) => id));
  for (const [id, row] of rows) {
    if (!ids.has(id)) {
      row.remove();
      rows.delete(id);
      results.delete(id);
    }
  }
}

function show(state) {
  clockOffset = Date.parse(state.time) - Date.now();
  announce(state.devices);
  state.devices.forEach(showDevice);
  if (!revision) {
    keepOnly(state.devices);
  }
  sortRows();
  for (const [name, number] of Object.entries(state.totals)) {
    setText(document.querySelector(`dl .${name} dd`), String(number));
  }
  revision = rows.size === state.totals.devices ? state.revision : 0;
}

async function ask() {
  source.searchParams.set("since", revision);
  try {
    const reply = await fetch(source, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) });
    return reply.ok ? await reply.json() : null;
  } catch { // the server was stopped, or is busy
    return null;
  }
}

async function update() {
  const state = await ask();
  if (state && started && state.started !== started) { // another server, with other numbers
    revision = 0;
    started = null;
    return update();
  }
  if (state) {
    started = state.started;
    show(state);
  }
  showAges();
  setText(connection, state ? "live" : "no reply from the server; retrying");
  connection.className = state ? "live" : "lost";
}

async function run() {
  for (;;) {
    if (document.hidden) {
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    }
    await update();
    await new Promise((resolve) => setTimeout(resolve, PERIOD));
  }
}

run();
