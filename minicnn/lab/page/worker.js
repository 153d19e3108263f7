// The worker of the page without a server: Python (Pyodide, from the site's own folder) with minicnn, which answers.

const site = name => new URL(`../${name}`, import.meta.url), here = name => new URL(name, import.meta.url);
const bytes = async url => {
  const reply = await fetch(url);
  if (!reply.ok) throw new Error(`${url.pathname}: ${reply.status}`);
  return new Uint8Array(await reply.arrayBuffer());
};

async function start() {
  postMessage({ stage: "pyodide" });
  if (!(await fetch(site("pyodide/pyodide.mjs"), { method: "HEAD" })).ok) throw new Error("missing");
  const { loadPyodide } = await import(site("pyodide/pyodide.mjs"));
  const python = await loadPyodide({ indexURL: site("pyodide/").href });
  await python.loadPackage(["numpy", "pillow"], { messageCallback: () => {} });
  postMessage({ stage: "minicnn" });
  python.unpackArchive(await bytes(here("minicnn.zip")), "zip");
  const page = python.pyimport("minicnn.lab.in_page").Page(python.toPy(await bytes(here("demo.safetensors"))));
  return (path, body) => {
    const answer = page.ask(path, python.toPy(body)), [status, text] = answer.toJs();
    answer.destroy();
    return { status, answer: text };
  };
}

const started = start();
started.then(() => postMessage({ stage: "ready" }), problem => postMessage({ problem: problem.message }));
onmessage = async ({ data }) => postMessage((await started)(data.path, data.body));
