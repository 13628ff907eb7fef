// Times what the server hands out, model by model, with ONNX Runtime Web.

let page, address, settings, ort, probe;
let visible = true, hiddenTimes = 0, wakeUp = () => {};

const tell = (message) => postMessage(message);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const plain = (text, length) => String(text ?? "").replace(/[^ -~]+/g, " ").trim().slice(0, length);

onmessage = ({ data }) => {
  if (data.visible !== undefined) {
    visible = data.visible;
    if (!visible) hiddenTimes += 1;
    wakeUp();
  }
  if (data.start !== undefined) {
    ({ page, address, settings } = data.start);
    work().catch((error) => tell({ state: `Measuring stopped: ${plain(error, 300)}`, failed: true, ended: true }));
  }
};

async function untilVisible() {
  while (!visible) {
    tell({ state: "Paused: this page is out of sight. Bring it back to the front." });
    await new Promise((resolve) => { wakeUp = resolve; });
  }
}

// Asks until there is an answer: Wi-Fi comes and goes.
async function ask(path, message) {
  for (let tries = 0; ; tries += 1) {
    let answer;
    try {
      answer = await fetch(new URL(path, address), message === undefined ? {} : {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ page, ...message }),
      });
      if (answer.ok && message === undefined) return { status: 200, bytes: await answer.arrayBuffer() };
      return { status: answer.status, ...await answer.json() };
    } catch {
      if (tries === 2) tell({ state: "The computer does not answer. Is it on, and in the same network? Trying again …" });
      await pause(Math.min(250 * 2 ** tries, 4000));
    }
  }
}

// -- the runtime ---------------------------------------------------------------------------------------------

async function load() {
  const blobs = [];
  for (const { address: file, integrity } of settings.files) {
    tell({ state: `Loading ONNX Runtime Web ${settings.version} …` });
    const options = { integrity, mode: "cors", credentials: "omit" };
    const answer = await fetch(new URL(file, address), options).catch(() => undefined);
    if (!answer?.ok) throw new Error(`${file} cannot be loaded: no network, or its bytes are not the ones expected`);
    const type = file.endsWith(".wasm") ? "application/wasm" : "text/javascript";
    blobs.push(URL.createObjectURL(new Blob([await answer.arrayBuffer()], { type })));
  }
  const [module, mjs, wasm] = blobs;
  const loaded = await import(module);
  ort = loaded.InferenceSession ? loaded : loaded.default;
  ort.env.wasm.wasmPaths = { mjs, wasm };
  ort.env.wasm.numThreads = settings.threads;
  ort.env.wasm.proxy = false;
  ort.env.logLevel = "error";
}

async function gpuName() {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("it has no WebGPU on this page; most browsers have it on https and localhost only");
  const { vendor, architecture, description } = adapter.info ?? {};
  return description || [vendor, architecture].filter(Boolean).join(" ");
}

async function facts() {
  if (settings.threads > 1 && !crossOriginIsolated) {
    throw new Error("threads need a page on https or localhost, which this address is not; measure with 1 thread");
  }
  const gpu = settings.backend === "webgpu" ? await gpuName() : "";
  const hints = await navigator.userAgentData?.getHighEntropyValues(["model", "platformVersion", "architecture"])
    .catch(() => undefined) ?? {};
  const known = /iPhone|iPad|Macintosh|Windows|Android|CrOS|Linux/.exec(navigator.userAgent)?.[0] ?? "";
  return {
    user_agent: plain(navigator.userAgent, 400),
    model: plain(hints.model, 100),
    platform: plain([hints.platform ?? known, hints.platformVersion].filter(Boolean).join(" "), 100),
    architecture: plain(hints.architecture, 100),
    gpu: plain(gpu, 200),
    cores: navigator.hardwareConcurrency ?? 0,
    threads: settings.threads,
    isolated: crossOriginIsolated,
    clock_ms: clockStep(),
  };
}

// The step of the clock in milliseconds: 0.005 on isolated pages of most browsers, up to 1 elsewhere. Rounded to
// one digit, as it is also interrupted, and the same browser should say the same again.
function clockStep() {
  let least = Infinity;
  const end = performance.now() + 100;
  for (let before = performance.now(), seen = 0; seen < 2000 && before < end; seen += 1) {
    let now = performance.now();
    while (now === before) now = performance.now();
    least = Math.min(least, now - before);
    before = now;
  }
  return Number(least.toPrecision(1));
}

// -- timing --------------------------------------------------------------------------------------------------

// Tells whether the core is being shared: some plain work that then takes longer than usual. It needs a fine
// clock. Waiting for a quiet moment spends patience, and undisturbed work gives twice its time back.
class Probe {
  constructor(patience) {
    this.most = this.patience = patience;
    this.times = [];
    this.rounds = 1000;
    const end = performance.now() + 200;
    while (performance.now() < end) {
      const took = this.time();
      this.times.pop();
      this.rounds = Math.max(1000, Math.round(this.rounds * Math.min(2, 0.15 / Math.max(took, 0.01))));
    }
    for (let count = 0; count < 300; count += 1) this.time();
  }

  time() {
    const start = performance.now();
    let state = 1;
    for (let round = 0; round < this.rounds; round += 1) state = Math.imul(state, 1664525) + 1013904223 | 0;
    this.sink = state;
    const took = performance.now() - start;
    this.times.push(took);
    return took;
  }

  usual() {
    if (this.times.length > 20000) this.times = this.times.filter((_, index) => index % 2);
    return [...this.times].sort((a, b) => a - b)[Math.floor(this.times.length / 10)];
  }

  undisturbed(usual) { return this.time() < 1.15 * usual; }
  worked(milliseconds) { this.patience = Math.min(this.most, this.patience + 2 * milliseconds); }
  waited(milliseconds) { this.patience -= milliseconds; }
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function image(shape) {
  const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
  let state = 1;
  for (let index = 0; index < data.length; index += 1) {
    state = Math.imul(state, 1664525) + 1013904223 | 0;
    data[index] = (state >>> 8) / 16777216;
  }
  return new ort.Tensor("float32", data, shape);
}

// One fresh session: the median milliseconds of a run, the number of timed runs, and whether it was disturbed.
// Short runs are timed several at a time: on a coarse clock so many that a step of it is 2 % of them.
async function timeSession(model, shape, protocol, clock) {
  const session = await ort.InferenceSession.create(model, {
    executionProviders: [settings.backend], graphOptimizationLevel: "all", logSeverityLevel: 3,
  });
  try {
    const feeds = { [session.inputNames[0]]: image(shape) };
    const run = async (times) => {
      const start = performance.now();
      for (let index = 0; index < times; index += 1) {
        const outputs = await session.run(feeds);
        for (const name in outputs) outputs[name].dispose();
      }
      return performance.now() - start;
    };
    const least = probe ? Math.max(0.2, 20 * clock) : 50 * clock;
    await run(protocol.warmups);
    let together = 1;
    for (let took = await run(1); took < least && together < 4096;) {
      together = Math.ceil(together * Math.min(16, 1.1 * least / Math.max(took, clock / 4)));
      took = await run(together);
    }
    const needed = probe ? protocol.runs : Math.max(5, Math.ceil(protocol.runs / together));
    const usual = probe?.usual();
    const timings = [];
    let spent = 0, bad = 0;
    while (timings.length < needed || (spent < protocol.session_ms && timings.length < 20 * protocol.runs)) {
      let quiet = probe?.undisturbed(usual) ?? true;
      const took = await run(together);
      quiet = (probe?.undisturbed(usual) ?? true) && quiet;
      if (quiet || probe.patience <= 0) {
        timings.push(took / together);
        spent += took;
      }
      if (quiet) {
        probe?.worked(took);
      } else if (probe.patience > 0) {
        await pause(2);
        probe.waited(took + 2 + await run(1)); // the pause cooled the caches
      } else {
        bad += 1;
      }
    }
    // What interrupts a run of milliseconds leaves both probes quiet: the slow samples show it.
    const sorted = [...timings].sort((a, b) => a - b);
    const kept = sorted.filter((value) => value <= 1.15 * sorted[Math.floor(sorted.length / 10)]);
    bad = Math.max(bad, sorted.length - kept.length);
    return { milliseconds: median(kept), runs: timings.length * together, disturbed: 2 * bad > timings.length };
  } finally {
    await session.release();
  }
}

async function timeModel(model, task, clock) {
  const values = [];
  let runs = 0, disturbed = 0;
  while (values.length < task.protocol.sessions) {
    await untilVisible();
    const before = hiddenTimes;
    const one = await timeSession(model, task.shape, task.protocol, clock);
    await pause(0); // news of a hidden page arrive now
    if (hiddenTimes !== before) continue; // browsers slow hidden pages down
    values.push(one.milliseconds);
    runs += one.runs;
    disturbed += one.disturbed ? 1 : 0;
  }
  return { session_ms: values, runs, disturbed };
}

// -- the conversation ----------------------------------------------------------------------------------------

async function work() {
  let about;
  try {
    await load();
    about = await facts();
    await ort.InferenceSession.create(new Uint8Array()).catch(() => undefined); // starts the runtime
    if (ort.env.wasm.numThreads !== settings.threads) throw new Error("it does not allow that many threads");
  } catch (error) {
    const reason = plain(error?.message ?? error, 300);
    await ask("failed", { task: 0, reason });
    tell({ state: `This browser cannot measure: ${reason}`, failed: true, ended: true });
    return;
  }
  tell({ device: {
    browser: about.user_agent, "back end": `${settings.backend}, ${about.threads} thread(s)`,
    isolated: about.isolated ? "yes" : "no", clock: `${about.clock_ms} ms`,
  } });
  while (await join(about)) {
    if (await serve(about.clock_ms)) return;
  }
}

async function join(about) {
  for (;;) {
    const answer = await ask("join", about);
    if (answer.status === 200) return true;
    if (answer.status !== 409) {
      tell({ state: gone(answer), failed: true, ended: true });
      return false;
    }
    tell({ state: `Waiting: ${answer.error}.`, failed: true });
    await pause(2000);
  }
}

const gone = ({ status, error }) => status === 404
  ? "The measurement that this address was for has ended."
  : `Refused: ${error ?? status}`;

// Times until the end (true), or until another page has taken over (false).
async function serve(clock) {
  for (;;) {
    await untilVisible();
    tell({ state: "Measuring …" });
    const task = await ask("next", {});
    if (task.status === 410) {
      const done = task.progress[0] === task.progress[1];
      tell({ state: done ? "Done. You can close this page." : "Stopped at the computer.", failed: !done, ended: true });
      return true;
    }
    if (task.status === 409) return false;
    if (task.status !== 200) {
      tell({ state: gone(task), failed: true, ended: true });
      return true;
    }
    tell({ progress: task.progress, now: task.name ?? "" });
    if (task.task === undefined) continue;
    const model = await ask(`model/${task.task}`);
    if (model.status !== 200) continue;
    probe ??= clock <= 0.02 && task.protocol.patience_ms > 0 ? new Probe(task.protocol.patience_ms) : null;
    try {
      const result = await timeModel(new Uint8Array(model.bytes), task, clock);
      await ask("result", { task: task.task, ...result });
    } catch (error) {
      await ask("failed", { task: task.task, reason: plain(error?.message ?? error, 300) });
    }
  }
}
