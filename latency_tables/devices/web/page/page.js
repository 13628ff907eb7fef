// The part that a person sees. The measuring is done by timing.js, in a worker of its own, so that drawing does
// not disturb it.

const settings = JSON.parse(document.querySelector('meta[name="pocketnas"]').content);
const element = (id) => document.getElementById(id);
const started = performance.now();
let ended = false;

function show(text, failed = false) {
  element("state").textContent = text;
  element("state").classList.toggle("failed", failed);
}

function showProgress([done, total]) {
  if (!total) return;
  element("bar").max = total;
  element("bar").value = done;
  const minutes = (performance.now() - started) / 60000;
  const rate = (done - (showProgress.first ??= done)) / minutes;
  const left = rate > 0 ? `, about ${Math.ceil((total - done) / rate)} min left` : "";
  element("count").textContent = `${done} of ${total} timings${left}`;
}

function showDevice(facts) {
  const rows = Object.entries(facts).flatMap(([name, value]) => {
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  });
  element("device").replaceChildren(...rows);
}

// A dark screen stops the page. Browsers allow this on secure pages only; elsewhere the person keeps it on.
async function stayAwake() {
  try {
    await navigator.wakeLock?.request("screen");
  } catch { /* refused: a low battery, or a hidden page */ }
}

const worker = new Worker("timing.js", { type: "module" });
worker.onmessage = ({ data }) => {
  if (data.state !== undefined) show(data.state, data.failed);
  if (data.progress !== undefined) showProgress(data.progress);
  if (data.now !== undefined) element("now").textContent = data.now;
  if (data.device !== undefined) showDevice(data.device);
  if (data.ended) {
    ended = true;
    if (!data.failed) element("bar").value = element("bar").max;
    element("now").textContent = "";
  }
};
worker.onerror = (event) => show(`The measuring part did not start: ${event.message ?? "unknown reason"}`, true);

const page = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const address = new URL(".", location.href).href;
worker.postMessage({ start: { page, address, settings } });

function tellVisible() {
  const visible = document.visibilityState === "visible";
  worker.postMessage({ visible });
  if (visible) stayAwake();
}
document.addEventListener("visibilitychange", tellVisible);
tellVisible();

function post(path, options = {}) {
  const body = JSON.stringify({ page });
  return fetch(new URL(path, address), {
    method: "POST", headers: { "Content-Type": "application/json" }, body, ...options,
  }).catch(() => undefined);
}
setInterval(() => { if (!ended) post("alive"); }, 3000);
addEventListener("pagehide", () => { if (!ended) post("leave", { keepalive: true }); });
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
