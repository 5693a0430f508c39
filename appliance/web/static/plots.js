"use strict";
// What the plots show: first the whole range is asked for, then only what is new.

const page = document.getElementById("metrics");
const silence = document.getElementById("silence");
const range = page.dataset.range; // empty: a stretch that stands still
const chosen = new URLSearchParams(location.search).getAll("output").map((name) => ["output", name]);
const opened = Date.now();
const now = { since: 0, until: 0, period: 1, span: 0, lines: new Map(), faults: new Map(), alarms: [] };
let plots = [];

function address(since) {
  const asked = new URLSearchParams(chosen);
  if (range) asked.set("range", range);
  else for (const side of ["since", "until"]) asked.set(side, page.dataset[side]);
  if (since) asked.set("since", since);
  return `/flows/${page.dataset.flow}/metrics.json?${asked}`;
}

function begin(told) {
  Object.assign(now, { since: told.since, until: told.until, period: told.period_s, span: told.until - told.since });
  now.lines = new Map(told.lines.map((line) => [`${line.plot} ${line.key}`, line]));
  now.faults = new Map();
}

function add(told) {
  const gone = Math.max(0, Math.round((told.until - now.since - now.span) / now.period));
  for (const fresh of told.lines) {
    const line = now.lines.get(`${fresh.plot} ${fresh.key}`);
    for (const side of ["values", "least", "most"]) {
      if (line[side]) line[side] = [...line[side], ...fresh[side]].slice(gone);
    }
  }
  now.since += gone * now.period;
  now.until = told.until;
}

function summed(line) {
  const told = line.values.filter((value) => value !== null);
  if (!told.length) return {};
  const total = told.reduce((sum, value) => sum + value, 0);
  const least = (line.least ?? told).filter((value) => value !== null);
  const most = (line.most ?? told).filter((value) => value !== null);
  return {
    last: line.values.at(-1), total, average: total / told.length,
    min: least.reduce((a, b) => Math.min(a, b)), max: most.reduce((a, b) => Math.max(a, b)),
  };
}

function countFaults(told) {
  for (const { key, metric, at, counts } of told.faults) {
    const name = `${key} ${metric.replace(/^Source/, "")}`;
    const known = now.faults.get(name) ?? new Map();
    now.faults.set(name, known);
    at.forEach((moment, place) => known.set(moment, counts[place]));
    for (const moment of known.keys()) if (moment < now.since) known.delete(moment);
  }
  for (const cell of document.querySelectorAll("[data-fault]")) {
    const known = now.faults.get(cell.dataset.fault);
    if (!known) continue;
    const count = [...known.values()].reduce((sum, one) => sum + one, 0);
    cell.textContent = figures.count(count);
    cell.classList.toggle("some", count > 0);
  }
}

/** What stands on the page was made by the server: where other lines have something to say, it is made again. */
function outgrown(told) {
  const other = now.until > 0 && told.lines.some((line) => !now.lines.has(`${line.plot} ${line.key}`));
  const stands = (line) => document.querySelector(`#plot-${line.plot} [data-key="${line.key}"]`);
  const more = told.lines.some((line) => line.values.some((value) => value !== null) && !stands(line));
  return (other || more) && Date.now() - opened > 5000;
}

/** The verdict and the alarms in words: the server writes them. */
async function renewWords(told) {
  const words = JSON.stringify([told.word, told.alarms.map((alarm) => [alarm.id, alarm.until === null, alarm.acknowledged])]);
  const changed = now.words !== undefined && now.words !== words;
  now.words = words;
  now.alarms = told.alarms;
  if (!changed) return;
  const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(10000) });
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of ["verdict", "alarms"]) document.getElementById(part).replaceWith(fresh.getElementById(part));
}

function show() {
  for (const line of now.lines.values()) line.summary = summed(line);
  if (plots.length) plots.forEach((plot) => plot.renew());
  else plots = [...document.querySelectorAll("[data-plot]")].map((section) => new Plot(section, now, zoom));
}

function zoom(since, until) {
  location.assign(`?${new URLSearchParams([...chosen, ["since", since], ["until", until]])}`);
}

async function look() {
  try {
    const answer = await fetch(address(now.until), { cache: "no-store", signal: AbortSignal.timeout(20000) });
    if (!answer.ok) throw new Error(answer.statusText);
    const told = await answer.json();
    if (outgrown(told)) { location.reload(); return; }
    await renewWords(told);
    if (now.until && told.since === now.until) add(told);
    else if (now.until) { now.until = 0; setTimeout(look, 0); return; } // away for longer than the range is
    else begin(told);
    countFaults(told);
    show();
    page.dataset.until = now.until;
    silence.hidden = true;
    page.classList.remove("silent");
  } catch {
    silence.hidden = false;
    page.classList.add("silent");
  }
  if (range) setTimeout(look, document.hidden ? 10000 : Math.max(1, Math.min(now.period, 60)) * 1000);
}

document.querySelector(".drawn").hidden = false;
matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => plots.forEach((plot) => plot.make()));
look();
