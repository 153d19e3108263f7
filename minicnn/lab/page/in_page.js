// Before lab.js: a worker with minicnn answers the page's questions, so no server does, and nothing leaves the browser.

const WORDS = {
  en: {
    starting: "Python is starting in this page …", pyodide: "Loading Python and NumPy, once: about 20 MB …", minicnn: "Loading minicnn …",
    missing: "Pyodide, which is Python for browsers, is not in this site's folder pyodide/: “python -m docs.site.pyodide” puts it there.",
    failed: "Python could not start in this page: ",
  },
  ko: {
    starting: "이 페이지에서 파이썬을 시작합니다 …", pyodide: "파이썬과 NumPy를 받습니다. 처음 한 번, 약 20 MB입니다 …", minicnn: "minicnn을 불러옵니다 …",
    missing: "브라우저용 파이썬인 Pyodide가 이 사이트의 pyodide/ 폴더에 없습니다. “python -m docs.site.pyodide”로 넣을 수 있습니다.",
    failed: "이 페이지에서 파이썬을 시작하지 못했습니다: ",
  },
};
const W = WORDS[(navigator.languages?.[0] ?? navigator.language ?? "en").toLowerCase().startsWith("ko") ? "ko" : "en"];
const about = document.getElementById("about"), error = document.getElementById("error");
about.textContent = W.starting;

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const queue = [];
let ready = false, current = null;

/** [status, answer] of a question. One is asked at a time; those that are given up before their turn are not asked. */
globalThis.askWorker = async (path, body, signal) => {
  if (body instanceof Blob) body = new Uint8Array(await body.arrayBuffer());
  else if (typeof body === "string") body = new TextEncoder().encode(body);
  else if (body !== undefined) body = body.slice();                   // the picture may change before its turn
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(signal.reason);
    if (signal?.aborted) return giveUp();
    signal?.addEventListener("abort", giveUp);
    queue.push({ path, body, signal, resolve, reject });
    next();
  });
};
function next() {
  if (!ready || current) return;
  do current = queue.shift() ?? null; while (current?.signal?.aborted);
  if (current) worker.postMessage({ path: current.path, body: current.body });
}
worker.onmessage = ({ data }) => {
  if (data.stage === "ready") { ready = true; next(); }
  else if (data.stage) about.textContent = W[data.stage];
  else if (data.problem !== undefined) stop(data.problem === "missing" ? W.missing : W.failed + data.problem);
  else { current.resolve([data.status, JSON.parse(data.answer)]); current = null; next(); }
};
worker.onerror = problem => stop(W.failed + (problem.message ?? ""));
function stop(sentence) { about.textContent = ""; error.textContent = sentence; error.hidden = false; }

await import("./lab.js");
