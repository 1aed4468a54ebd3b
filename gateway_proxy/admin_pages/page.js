// Everything shown is put in as text, never as markup: names and paths come from the configuration.
"use strict";

const EVERY_MS = 2000;
const at = (id) => document.getElementById(id);

async function get(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function cell(kind, text, bad = false) {
  const node = document.createElement(kind);
  node.textContent = text;
  if (bad) node.className = "bad";
  return node;
}

function table(id, heads, rows) {
  const line = (kind, texts) => {
    const row = document.createElement("tr");
    row.append(...texts.map((text) => (Array.isArray(text) ? cell(kind, text[0], text[1]) : cell(kind, text))));
    return row;
  };
  at(id).replaceChildren(line("th", heads), ...rows.map((row) => line("td", row)));
}

function showStatus(status) {
  at("state").textContent = status.draining ? "draining" : "serving";
  at("state").className = status.draining ? "bad" : "";
  const shown = [
    ["version", status.version], ["process", status.pid], ["up for", `${Math.round(status.uptime_s)} s`],
    ["configuration", `${status.config_file}, generation ${status.generation}`], ["connections", status.connections],
  ];
  at("status").replaceChildren(...shown.flatMap(([name, value]) => [cell("dt", name), cell("dd", value)]));
  table("workers", ["number", "process", "up for", "generation", "connections", "restarts", ""],
    status.workers.map((worker) => [worker.number, worker.pid ?? "none", `${Math.round(worker.uptime_s)} s`, worker.generation,
      worker.connections, worker.restarts, worker.silent ? ["silent", true] : ""]));
}

function showPools(pools) {
  table("pools", ["upstream", "target", "weight", "in flight", "idle", "open", "held out"],
    Object.entries(pools).flatMap(([name, pool]) => pool.targets.map((target) => [`${name} (${pool.balance})`,
      target.address, target.weight, target.active, target.idle, target.opened, [target.held_out.join(", "), true]])));
}

function showBreakers(breakers) {
  table("breakers", ["upstream", "state", "failures in a row", "opened", "refused"],
    Object.entries(breakers).map(([name, one]) => [name, [one.state, one.state !== "closed"], one.failures_in_a_row,
      one.opened, one.refused]));
}

function showRoutes(routes) {
  table("routes", ["prefix", "host", "methods", "to", "features"], routes.map((route) => [route.prefix,
    route.host ?? "any", route.methods.join(" ") || "any",
    route.to.map((share) => (route.to.length > 1 ? `${share.upstream} (${share.weight})` : share.upstream)).join(", "),
    route.features.join(", ")]));
}

async function show() {
  try {
    const [status, pools, breakers, routes] = await Promise.all(["status", "pools", "breakers", "routes"].map(get));
    showStatus(status);
    showPools(pools);
    showBreakers(breakers);
    showRoutes(routes);
  } catch (error) {
    at("state").textContent = `no answer (${error.message})`;
    at("state").className = "bad";
  }
  setTimeout(show, EVERY_MS);
}

async function reload() {
  at("reload").disabled = true;
  try {
    const answer = await fetch("reload", { method: "POST", headers: { "X-Gateway-Admin": "reload" } });
    const said = await answer.json();
    at("said").textContent = answer.ok
      ? `generation ${said.generation} is in force`
      : said.file ? `${said.file}:${said.line}: ${said.message}` : said.error;
    at("said").className = answer.ok ? "" : "bad";
  } catch (error) {
    at("said").textContent = error.message;
  }
  at("reload").disabled = false;
}

at("reload").addEventListener("click", reload);
show();
