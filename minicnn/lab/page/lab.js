// The lab's page. It asks the server, or in a page without one its worker (in_page.js), for plain answers, and writes
// text only: no string ever becomes markup.

const WORDS = {
  en: {
    input: "Input", pad: "The image that the net gets. Draw with a pen; arrow keys move, space draws.", clear: "Clear",
    invert: "Invert", file: "Open a picture", camera: "Webcam", shoot: "Take this picture",
    drop: "Draw, drop a picture anywhere, or paste one. What you see here is exactly what the net gets, before the normalisation.",
    samples: "Pictures of the test set", evidence: "Evidence for the class", none: "none", saliency: "saliency", gradcam: "Grad-CAM",
    occlusion: "occlusion", probabilities: "Probabilities", other: "Class of the gradients", most: "the most probable",
    score: "Gradients are those of this class's score S, before the softmax. Choose a bar for another class.",
    net: "The net", jump: "Go to", point: "Point at a number of any map: it is explained here.", learn: "One training step, in slow motion",
    label: "True class", rate: "Learning rate", try: "Try the step", take: "Take the step", run: "The run", close: "Close", more: "More maps",
    evalmode: "On this one image, in eval mode: batch norm keeps its running statistics, dropout drops nothing.",
    gradients: "gradients ∂S/∂y", changed: "The net was changed.", reset: "Reset the net",
    forward: "Forward", backward: "Backward", window: "what it reads", filter: "filter", factor: "factor ∂y/∂x", products: "products", sum: "sum",
    passes: "passes back ∂S/∂y × factor", toWeights: "adds to ∂S/∂w: ∂S/∂y × window", toBias: "adds to ∂S/∂b",
    rest: (n, s) => `${n} more, sum ${s}`, comes: "It is copied from", map: "map", field: "It sees rows {0} and columns {1} of the image.",
    winner: "The largest wins; it alone gets the gradient.", zero: "The gradient is 0:",
    why: { other: "this is another class's score.", off: "{0} behind it is off, in its flat part.", loses: "in {0} it never is the largest of a window.",
      unread: "{0} does not read it.", factor: "{0} multiplies it by 0.", behind: "all that it reaches through {0} has the gradient 0." },
    difference: "Check by a finite difference", backpropagated: "backpropagated", byDifference: "(S(w + h) − S(w − h))/2h",
    weight: "Weight", pixel: "Pixel", set: "Set", off: "Filter off (× 0)", turn: "Turn over (× −1)", twice: "× 2",
    noGradient: "The probabilities come after the score S, so S has no gradient here.", padding: "padding",
    loss: "loss", before: "before", after: "after", values: "‖w‖", slope: "‖∂L/∂w‖", change: "‖Δw‖", steepest: "steepest weight: w − rate · ∂L/∂w",
    parameters: "parameters", sees: "each number sees {0} × {1} pixels", wait: "…", lost: "The lab does not answer: does it still run?",
    epoch: "epoch", accuracy: "accuracy", validation: "validation", training: "training", image: "image", more_channels: "More channels",
    open: "Open a model file", trainIt: "Train", pause: "Pause", random: "Random weights",
    liveHint: "It trains here, in your browser: AdamW on batches of 64 of the 5,000 digits that are part of minicnn. “Random weights” begins from nothing.",
    liveStep: "step {0}, loss {1}, {2} ms a step", liveTest: "{0} of {1} test digits are right after step {2}.",
  },
  ko: {
    input: "입력", pad: "신경망이 받는 이미지. 펜으로 그리세요. 화살표로 이동, 스페이스로 점을 찍습니다.", clear: "지우기",
    invert: "반전", file: "그림 열기", camera: "웹캠", shoot: "이 장면 찍기",
    drop: "그리거나, 그림을 끌어다 놓거나, 붙여 넣으세요. 여기 보이는 것이 정규화 직전에 신경망이 받는 그대로입니다.",
    samples: "시험 데이터의 그림", evidence: "이 클래스의 근거", none: "없음", saliency: "현저성(saliency)", gradcam: "Grad-CAM",
    occlusion: "가리기(occlusion)", probabilities: "확률", other: "기울기의 클래스", most: "가장 확률이 높은 것",
    score: "기울기는 소프트맥스 이전의 이 클래스 점수 S에 대한 것입니다. 막대를 눌러 다른 클래스를 고르세요.",
    net: "신경망", jump: "이동", point: "아무 맵의 숫자 하나를 가리키면 여기에서 설명합니다.", learn: "학습 한 단계를 천천히",
    label: "정답 클래스", rate: "학습률", try: "시험해 보기", take: "적용하기", run: "학습 기록", close: "닫기", more: "맵 더 보기",
    evalmode: "이 이미지 한 장에 대해, 평가 모드로 계산합니다. 배치 정규화는 이동 통계를 쓰고 드롭아웃은 꺼져 있습니다.",
    gradients: "기울기 ∂S/∂y", changed: "신경망이 바뀌었습니다.", reset: "신경망 되돌리기",
    forward: "순전파", backward: "역전파", window: "읽는 값", filter: "필터", factor: "계수 ∂y/∂x", products: "곱", sum: "합",
    passes: "뒤로 보내는 값 ∂S/∂y × 계수", toWeights: "∂S/∂w에 더하는 값: ∂S/∂y × 창", toBias: "∂S/∂b에 더하는 값",
    rest: (n, s) => `그 밖에 ${n}개, 합 ${s}`, comes: "다음에서 그대로 옵니다:", map: "맵", field: "이미지의 {0}행, {1}열을 봅니다.",
    winner: "가장 큰 값이 이기고, 기울기도 그 값만 받습니다.", zero: "기울기가 0인 까닭:",
    why: { other: "다른 클래스의 점수입니다.", off: "뒤의 {0}이(가) 꺼져 있습니다(평평한 구간).", loses: "{0}의 어느 창에서도 가장 큰 값이 아닙니다.",
      unread: "{0}이(가) 읽지 않습니다.", factor: "{0}이(가) 0을 곱합니다.", behind: "{0}을(를) 지나 닿는 모든 값의 기울기가 0입니다." },
    difference: "유한 차분으로 확인", backpropagated: "역전파", byDifference: "(S(w + h) − S(w − h))/2h",
    weight: "가중치", pixel: "픽셀", set: "바꾸기", off: "필터 끄기 (× 0)", turn: "뒤집기 (× −1)", twice: "× 2",
    noGradient: "확률은 점수 S 다음에 오므로 여기에는 S의 기울기가 없습니다.", padding: "패딩",
    loss: "손실", before: "이전", after: "이후", values: "‖w‖", slope: "‖∂L/∂w‖", change: "‖Δw‖", steepest: "가장 가파른 가중치: w − 학습률 · ∂L/∂w",
    parameters: "파라미터", sees: "숫자 하나가 {0} × {1} 픽셀을 봅니다", wait: "…", lost: "실험실이 응답하지 않습니다. 아직 실행 중인가요?",
    epoch: "에폭", accuracy: "정확도", validation: "검증", training: "학습", image: "이미지", more_channels: "채널 더 보기",
    open: "모델 파일 열기", trainIt: "학습", pause: "멈춤", random: "무작위 가중치",
    liveHint: "바로 이 브라우저에서 학습합니다. minicnn에 들어 있는 숫자 5,000장을 64장씩 묶어 AdamW로 학습합니다. ‘무작위 가중치’를 누르면 처음부터 시작합니다.",
    liveStep: "{0}단계, 손실 {1}, 단계마다 {2} ms", liveTest: "{2}단계 뒤 시험용 숫자 {1}장 가운데 {0}장이 맞습니다.",
  },
};
const language = (navigator.languages?.[0] ?? navigator.language ?? "en").toLowerCase().startsWith("ko") ? "ko" : "en";
const W = WORDS[language];
const fill = (text, ...values) => text.replace(/\{(\d)\}/g, (_, i) => values[i]);

const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
function el(tag, properties = {}, ...children) { const e = Object.assign(document.createElement(tag), properties); e.append(...children); return e; }
function svg(tag, attributes = {}, ...children) { const e = document.createElementNS(SVG, tag); for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v); e.append(...children); return e; }

// ---------------------------------------------------------------------------------------------- numbers and colours

/** A number as text of nearly one width: a true minus, and an exponent only where digits would be lost. */
export function show(v, digits = 3) {
  if (typeof v === "string") return v;
  if (v === null || v === undefined) return "–";
  if (v === 0) return "0";
  const size = Math.abs(v), text = size === 0 || (size >= 10 ** -digits && size < 1e5) ? size.toFixed(digits) : size.toExponential(1).replace("e-", "e−").replace("e+", "e");
  return (v < 0 ? "−" : "") + text;
}
/** The bytes of {shape, type, data} as a typed array. */
export function array(a) {
  const bytes = Uint8Array.from(atob(a.data), c => c.charCodeAt(0));
  return a.type === "u1" ? bytes : new Float32Array(bytes.buffer);
}
const night = matchMedia("(prefers-color-scheme: dark)");
/** v/limit from −1 (blue) over 0 (the ground) to 1 (orange). */
export function colour(v, limit, dark = night.matches) {
  const t = Math.max(-1, Math.min(1, (Number(v) || 0) / (limit || 1))), s = Math.abs(t) ** .7;
  const zero = dark ? [30, 34, 42] : [250, 250, 250], end = t < 0 ? (dark ? [110, 170, 255] : [20, 66, 200]) : (dark ? [255, 160, 84] : [188, 62, 8]);
  return zero.map((z, i) => Math.round(z + (end[i] - z) * s));
}
const ink = ([r, g, b]) => 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#111" : "#fff";
const largest = (...lists) => Math.max(1e-12, ...lists.map(l => l.reduce((m, v) => Number.isFinite(v) ? Math.max(m, Math.abs(v)) : m, 0)));

// ------------------------------------------------------------------------------------------------------- questions

const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
async function ask(path, question, signal) {
  const bytes = question === undefined || question instanceof Uint8Array || question instanceof Blob;
  const [status, answer] = await (globalThis.askWorker ?? askServer)(path, bytes ? question : JSON.stringify(question), signal);
  if (status !== 200) throw new Error(answer.error);
  return answer;
}
/** [HTTP's status, the answer] to a question: text in JSON, bytes, or undefined. */
async function askServer(path, body, signal) {
  const headers = { "X-Token": token };
  if (body !== undefined) headers["Content-Type"] = typeof body === "string" ? "application/json" : "application/octet-stream";
  let reply;
  try { reply = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, signal, body }); }
  catch (problem) { if (problem.name === "AbortError") throw problem; throw new Error(W.lost); }
  return [reply.status, await reply.json()];
}
/** The latest question of a kind wins: one that is still on its way is given up. */
const running = {};
async function latest(kind, path, question) {
  running[kind]?.abort();
  const mine = running[kind] = new AbortController();
  try { const answer = await ask(path, question, mine.signal); return running[kind] === mine ? answer : null; }
  catch (problem) { if (problem.name === "AbortError") return null; throw problem; }
}
function tell(problem) { $("error").textContent = problem ? problem.message : ""; $("error").hidden = !problem; }
/** An action of the user: what goes wrong is said at the top of the page. */
const act = f => async (...given) => { try { await f(...given); tell(null); } catch (problem) { tell(problem); } };

// ----------------------------------------------------------------------------------------------------------- state

let net, seen = null, chosen = null, here = null, labels = [], cards = [], place = [], samples = null;
let image;                                                            // the bytes (C,H,W) that the net gets
let C, H, Wd;
const best = () => { const p = seen.values; return p.indexOf(Math.max(...p)); };
const target = () => chosen ?? best();

// ----------------------------------------------------------------------------------------------------------- input

const pad = $("pad");
function drawImage(canvas = pad, bytes = image) {
  canvas.width = Wd; canvas.height = H;
  const g = canvas.getContext("2d", { willReadFrequently: true }), d = g.createImageData(Wd, H), n = H * Wd;
  for (let i = 0; i < n; i++) d.data.set([bytes[i], bytes[C === 1 ? i : n + i], bytes[C === 1 ? i : 2 * n + i], 255], 4 * i);
  g.putImageData(d, 0, 0);
}
function readPad() {
  const d = pad.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, Wd, H).data, n = H * Wd;
  for (let i = 0; i < n; i++) for (let c = 0; c < C; c++) image[c * n + i] = d[4 * i + c];
}
const at = (canvas, e, w, h) => { const r = canvas.getBoundingClientRect(); return [(e.clientX - r.left) * w / r.width, (e.clientY - r.top) * h / r.height]; };
let last = null, dot = null;
function stroke(from, to) {
  const g = pad.getContext("2d");
  g.strokeStyle = "#fff"; g.lineWidth = net.pen; g.lineCap = g.lineJoin = "round";
  g.beginPath(); g.moveTo(...from); g.lineTo(to[0] + 1e-3, to[1]); g.stroke();
  readPad(); look();
}
pad.onpointerdown = e => { last = at(pad, e, Wd, H); pad.setPointerCapture(e.pointerId); stroke(last, last); };
pad.onpointermove = e => { if (!last) return; const p = at(pad, e, Wd, H); stroke(last, p); last = p; };
pad.onpointerup = pad.onpointercancel = () => { last = null; };
pad.onkeydown = e => {
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
  if (!move && e.key !== " ") return;
  e.preventDefault(); dot ??= [Wd / 2, H / 2];
  if (move) dot = [Math.max(0, Math.min(Wd, dot[0] + move[0])), Math.max(0, Math.min(H, dot[1] + move[1]))];
  else stroke(dot, dot);
  frame([[Math.floor(dot[1]), Math.floor(dot[1]) + 1], [Math.floor(dot[0]), Math.floor(dot[0]) + 1]]);
};
function frame(field) {
  $("field").setAttribute("viewBox", `0 0 ${Wd} ${H}`);
  $("field").replaceChildren(...(field ? [svg("rect", { x: field[1][0], y: field[0][0], width: field[1][1] - field[1][0], height: field[0][1] - field[0][0] })] : []));
}
let busy = false, waiting = false;
/** Looks at the image; while one look is computed, only the newest image waits. */
async function look() {
  if (busy) { waiting = true; return; }
  busy = true;
  try { do { waiting = false; const t = performance.now(); show_(await ask("/api/pixels", image), t); } while (waiting); tell(null); }
  catch (problem) { tell(problem); } finally { busy = false; }
}
const picture = act(async blob => { const t = performance.now(); const a = await ask("/api/picture", blob); image = array(a.image); drawImage(); show_(a, t); });
async function again() { if (seen) { const t = performance.now(); show_(await ask("/api/again", { look: seen.look }), t); } }
$("clear").onclick = () => { image.fill(0); drawImage(); look(); };
$("invert").onclick = () => { image = image.map(v => 255 - v); drawImage(); look(); };
$("file").onchange = e => { if (e.target.files[0]) picture(e.target.files[0]); e.target.value = ""; };
addEventListener("dragover", e => e.preventDefault());
const isModel = f => net?.in_page && /\.(safetensors|npz|pth?|bin)$/i.test(f.name);
addEventListener("drop", e => { e.preventDefault(); const f = e.dataTransfer?.files[0]; if (f) (isModel(f) ? openModel : picture)(f); });
addEventListener("paste", e => { const f = [...(e.clipboardData?.files ?? [])].find(f => f.type.startsWith("image/")); if (f) picture(f); });
$("camera").onclick = act(async () => {
  if (!$("booth").hidden) return stop();
  $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
  $("booth").hidden = false; await $("video").play();
});
function stop() { $("video").srcObject?.getTracks().forEach(t => t.stop()); $("video").srcObject = null; $("booth").hidden = true; }
$("shoot").onclick = () => {
  const v = $("video"), c = el("canvas", { width: v.videoWidth, height: v.videoHeight });
  c.getContext("2d").drawImage(v, 0, 0); stop(); c.toBlob(b => picture(b), "image/png");
};

// ---------------------------------------------------------------------------------------------------------- answer

function show_(answer, since) {
  seen = { ...answer, values: array(answer.probabilities ?? answer.scores) };
  seen.sure = answer.probabilities !== null;
  $("time").textContent = `${Math.round(performance.now() - since)} ms`;
  bars(); nodes(); evidence();
  if (here) explain(here.node, here.at);
}
function bars() {
  const p = [...seen.values], top = best(), order = p.map((_, i) => i);
  if (p.length > 10) order.sort((a, b) => p[b] - p[a]).splice(10);
  if (chosen !== null && !order.includes(chosen)) order.push(chosen);
  const limit = seen.sure ? 1 : largest(p);
  $("bars").replaceChildren(...order.map(i => {
    const bar = el("i"); bar.style.width = `${(100 * Math.max(0, p[i]) / limit).toFixed(1)}%`;
    const said = seen.sure ? `${(100 * p[i]).toFixed(1)} %` : show(p[i]);
    const b = el("button", { className: i === top ? "top" : "", title: net.classes[i], onclick: () => choose(chosen === i ? null : i) },
      el("span", { textContent: net.classes[i].split(",")[0] }), el("span", { className: "track" }, bar), el("span", { className: "percent", textContent: said }));
    b.setAttribute("aria-pressed", i === target()); b.setAttribute("aria-label", `${net.classes[i]}: ${said}`);
    return b;
  }));
  $("class").value = chosen ?? "";
}
function choose(k) { chosen = k; bars(); evidence(); if (here) explain(here.node, here.at); }
$("class").onchange = e => choose(e.target.value === "" ? null : Number(e.target.value));
const evidence = act(async () => {
  const what = $("evidence").value;
  if (!what) { running.evidence?.abort(); $("heat").width = 0; $("evidence-said").textContent = ""; return; }
  $("evidence-said").textContent = W.wait;
  const a = await latest("evidence", "/api/evidence", { look: seen.look, what, k: target() });
  if (!a) return;
  const v = array(a.map), [h, w] = a.map.shape, c = $("heat"), low = what === "occlusion" ? Math.min(...v.filter(Number.isFinite)) : 0, high = Math.max(...v.filter(Number.isFinite));
  c.width = w; c.height = h;
  const g = c.getContext("2d"), d = g.createImageData(w, h);
  v.forEach((x, i) => { let t = (x - low) / (high - low || 1); if (what === "occlusion") t = 1 - t; if (!Number.isFinite(t)) t = 0; d.data.set([255, 150 - 60 * t, 20, 255 * t], 4 * i); });
  g.putImageData(d, 0, 0);
  ["top", "left", "height", "width"].forEach((side, i) => { c.style[side] = a.place ? `${100 * a.place[i]}%` : ""; });
  $("evidence-said").textContent = `S(${net.classes[target()].split(",")[0]})` + (a.layer ? ` · ${a.layer}` : "") + (a.size ? ` · ${a.size} × ${a.size}` : "");
});
$("evidence").onchange = evidence;

// --------------------------------------------------------------------------------------------------------- the net

const CARD = 100, GAP = 26, MAP = 46;
const title = n => n.id === 0 ? W.image : n.op;
const shape = n => n.shape.join("×");
/** Columns by the longest way from the image, lanes for branches: a node stays in the lane of its first input if that is free. */
export function layout(list) {
  const column = [], lane = [], taken = new Set();
  for (const n of list) {
    column[n.id] = n.inputs.length ? 1 + Math.max(...n.inputs.map(i => column[i])) : 0;
    let l = n.inputs.length ? Math.min(...n.inputs.map(i => lane[i])) : 0;
    while (taken.has(`${column[n.id]},${l}`)) l++;
    lane[n.id] = l; taken.add(`${column[n.id]},${l}`);
  }
  return list.map(n => ({ column: column[n.id], lane: lane[n.id] }));
}
function build() {
  place = layout(net.nodes);
  const scale = cells => Math.min(4, Math.max(1, Math.ceil(cells / 2)));
  const heights = [];
  cards = net.nodes.map(n => {
    const c = el("canvas", { tabIndex: 0 });
    c.setAttribute("role", "application");
    c.setAttribute("aria-label", `${title(n)} ${n.layer}, ${shape(n)}`);
    const details = [n.layer, shape(n), n.parameters ? `${n.parameters.toLocaleString()} ${W.parameters}` : "", n.macs ? `${n.macs.toLocaleString()} MACs` : "",
      n.field ? fill(W.sees, n.field[0][1], n.field[1][1]) : ""].filter(Boolean).join("\n");
    const head = el("button", { title: details, onclick: () => openMaps(n.id) }, el("b", { textContent: title(n) }), el("small", { textContent: n.layer || " " }),
      el("small", { textContent: shape(n) }), el("small", { textContent: n.parameters ? `${n.parameters.toLocaleString()} w` : n.field ? `${n.field[0][1]}×${n.field[1][1]} px` : " " }));
    const card = el("div", { className: "node" }, head, c);
    const rows = n.shape.length === 3 ? scale(Math.min(8, n.shape[0])) : 2;
    heights[place[n.id].lane] = Math.max(heights[place[n.id].lane] ?? 0, 86 + rows * (MAP + 2));
    const point = e => cellAt(n, ...at(c, e, c.width, c.height));
    c.onclick = e => {                                                // holds this number; a second click lets it go
      const a = point(e), same = here?.node === n.id && String(here.at) === String(a);
      if (!a) return;
      pinned = !(pinned && same);
      explain(n.id, a);
    };
    c.onpointermove = e => { if (e.pointerType === "mouse" && !pinned && point(e)) explain(n.id, point(e)); };
    c.onkeydown = e => keys(e, n);
    return { card, canvas: c };
  });
  const top = heights.reduce((sums, h) => [...sums, sums.at(-1) + h], [26]);
  net.nodes.forEach((n, i) => { cards[i].card.style.left = `${place[i].column * (CARD + GAP)}px`; cards[i].card.style.top = `${top[place[i].lane]}px`; });
  const width = (1 + Math.max(...place.map(p => p.column))) * (CARD + GAP), height = top.at(-1);
  $("graph").style.width = `${width}px`; $("graph").style.height = `${height}px`;
  for (const id of ["edges", "marks"]) { $(id).setAttribute("width", width); $(id).setAttribute("height", height); }
  const x = i => place[i].column * (CARD + GAP), y = i => top[place[i].lane] + 12;
  const occupied = new Set(place.map(p => `${p.column},${p.lane}`));
  const paths = net.nodes.flatMap(n => n.inputs.map(s => {
    const [x0, y0, x1, y1] = [x(s) + Math.min(CARD, 8 + 7 * title(net.nodes[s]).length), y(s), x(n.id) - 3, y(n.id)];
    let over = place[n.id].column - place[s].column > 1;
    if (over) { over = false; for (let k = place[s].column + 1; k < place[n.id].column; k++) over ||= occupied.has(`${k},${place[n.id].lane}`); }
    const bend = Math.min(40, (x1 - x0) / 2), high = Math.min(y0, y1) - 32;
    const d = over ? `M${x0 - 12} ${y0 - 9} C${x0} ${high} ${x1 - 30} ${high} ${x1} ${y1 - 6}` : `M${x0} ${y0} C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`;
    return svg("path", { d, "marker-end": "url(#arrow)" });
  }));
  const arrow = svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto" }, svg("path", { d: "M0 0 8 4 0 8" }));
  $("edges").replaceChildren(svg("defs", {}, arrow), ...paths);
  $("graph").replaceChildren($("edges"), $("marks"), ...cards.map(c => c.card));
  $("jump").replaceChildren(...net.nodes.map(n => el("option", { value: n.id, textContent: `${title(n)} ${n.layer}` })));
  $("jump").onchange = e => { cards[e.target.value].card.scrollIntoView({ block: "nearest", inline: "center" }); cards[e.target.value].canvas.focus({ preventScroll: true }); };
}
let pinned = false;
/** The grid of small maps on a node's canvas: columns of maps, pixels of a map. */
function grid(n) {
  const small = seen.nodes[n.id], [count, h, w] = small.maps.shape;
  return { small, count, h, w, columns: count > 1 ? 2 : 1, map: array(small.maps) };
}
function nodes() {
  for (const n of net.nodes) {
    const { small, count, h, w, columns, map } = grid(n), c = cards[n.id].canvas, rows = Math.ceil(count / columns);
    c.width = columns * w + columns - 1; c.height = rows * h + rows - 1;
    const size = n.shape.length === 3 ? `${Math.min(96, c.width * MAP / Math.max(w, h) + (columns - 1) * 2)}px` : "96px";
    if (c.style.width !== size) c.style.width = size;
    const g = c.getContext("2d"), d = g.createImageData(c.width, c.height);
    for (let m = 0; m < count; m++) {
      const [top, left] = [Math.floor(m / columns) * (h + 1), (m % columns) * (w + 1)];
      for (let i = 0; i < h * w; i++) {
        if (n.shape.length !== 3 && i >= n.shape.reduce((a, b) => a * b, 1)) break;
        d.data.set([...colour((map[m * h * w + i] - 128) / 127, 1), 255], 4 * ((top + Math.floor(i / w)) * c.width + left + i % w));
      }
    }
    g.putImageData(d, 0, 0);
  }
}
/** The index of the number that a point of a node's canvas shows, or null. */
function cellAt(n, x, y) {
  const { small, count, h, w, columns } = grid(n), m = Math.floor(y / (h + 1)) * columns + Math.floor(x / (w + 1));
  const i = Math.floor(y % (h + 1)), j = Math.floor(x % (w + 1));
  if (m >= count || i < 0 || j < 0 || i >= h || j >= w) return null;
  if (n.shape.length === 3) return [small.channels[m], Math.floor(i * n.shape[1] / h), Math.floor(j * n.shape[2] / w)];
  let flat = i * w + j; const index = [];
  if (flat >= n.shape.reduce((a, b) => a * b, 1)) return null;
  for (const size of [...n.shape].reverse()) { index.unshift(flat % size); flat = Math.floor(flat / size); }
  return index;
}
/** Frames on the cards: the number itself, and the windows that it reads, on the maps that are shown. */
function marks(u) {
  const found = [];
  const add = (id, channel, rows, columns, kind) => {
    const n = net.nodes[id], { small, h, w, columns: across } = grid(n), m = small.channels.indexOf(channel), c = cards[id];
    if (n.shape.length !== 3 || m < 0) return;
    const x0 = c.card.offsetLeft + c.canvas.offsetLeft, y0 = c.card.offsetTop + c.canvas.offsetTop;
    const [sx, sy] = [c.canvas.offsetWidth / c.canvas.width, c.canvas.offsetHeight / c.canvas.height];
    const place = (from, to, size, shown, first, scale) => { const [a, b] = [Math.max(0, from), Math.min(size, to)].map(v => v * shown / size); return [first + a * scale, Math.max(3, (b - a) * scale)]; };
    const [left, width] = place(...columns, n.shape[2], w, x0 + (m % across) * (w + 1) * sx, sx), [top, height] = place(...rows, n.shape[1], h, y0 + Math.floor(m / across) * (h + 1) * sy, sy);
    found.push(svg("rect", { x: left, y: top, width, height, class: kind }));
  };
  const extent = ([start, count, step]) => [start, start + (count - 1) * step + 1];
  for (const p of u.parts) if (p.node !== null && p.box.length === 4) for (let k = 0; k < p.box[1][1]; k++) add(p.node, p.box[1][0] + k * p.box[1][2], extent(p.box[2]), extent(p.box[3]), "window");
  if (u.at.length === 3) add(u.node, u.at[0], [u.at[1], u.at[1] + 1], [u.at[2], u.at[2] + 1], "cell");
  $("marks").replaceChildren(...found);
}
function keys(e, n) {
  const step = { ArrowLeft: [-1, -1], ArrowRight: [-1, 1], ArrowUp: [-2, -1], ArrowDown: [-2, 1], PageUp: [-3, -1], PageDown: [-3, 1], Enter: [0, 0], " ": [0, 0] }[e.key];
  if (!step) return;
  e.preventDefault();
  const a = here?.node === n.id ? [...here.at] : cellAt(n, 0.5, 0.5);
  if (step[0] && a.length + step[0] >= 0) { const k = a.length + step[0]; a[k] = Math.max(0, Math.min(n.shape[k] - 1, a[k] + step[1])); }
  pinned = true;
  explain(n.id, a);
}

// ---------------------------------------------------------------------------------------------------- one number

const nameOf = id => { const n = net.nodes[id]; return `${title(n)}${n.layer ? ` ${n.layer}` : ""}`; };
const explain = act(async (node, where) => {
  here = { node, at: where };
  const u = await latest("unit", "/api/unit", { look: seen.look, node, at: where, k: target() });
  if (!u) return;
  cards.forEach((c, i) => { c.card.classList.toggle("here", i === node); c.card.classList.toggle("source", u.parts.some(p => p.node === i)); });
  frame(u.field);
  marks(u);
  const y = `y[${u.at.join(", ")}]`, out = [];
  $("cell-title").textContent = `${nameOf(node)}   ${y} = ${show(u.value, 4)}`;
  if (node === 0) out.push(pixel(u));
  else {
    out.push(el("h3", { textContent: W.forward }));
    const main = u.parts[0];
    if (u.kind === "products") {
      out.push(line(`${u.formula} = `, el("b", { textContent: show(main.sum, 4) }), u.bias ? ` ${u.bias < 0 ? "−" : "+"} ${show(Math.abs(u.bias), 4)} = ` : " = ", el("b", { textContent: show(u.value, 4) })));
    } else if (u.kind === "copy") out.push(line(u.parts.length ? `${W.comes} ` : u.formula, ...u.parts.map(jump)));
    else if (u.kind === "winner") out.push(line(`${u.formula} = ${show(u.value, 4)}   `, W.winner));
    else out.push(line(`${u.formula} = ${u.in_numbers} = `, el("b", { textContent: show(u.value, 4) })));
    const reads = u.parts.filter(p => p.node !== null), weights = u.parts.filter(p => p.node === null);
    if (u.kind !== "copy") for (const p of reads) out.push(...windows(u, p, weights.find(q => q.box.length === p.box.length && u.kind === "products")));
  }
  out.push(...backward(u));
  $("why").replaceChildren(...out);
});
const line = (...parts) => el("p", { className: "eq" }, ...parts);
const jump = p => el("button", { textContent: `${nameOf(p.node)} [${p.box.slice(1).map(b => b[0]).join(", ")}]`, onclick: () => explain(p.node, p.box.slice(1).map(b => b[0])) });

function backward(u) {
  const out = [el("h3", { textContent: W.backward })], S = net.classes[u.class].split(",")[0];
  if (u.gradient === null) return [...out, line(W.noGradient)];
  out.push(line(`∂S(${S})/∂y = `, el("b", { textContent: show(u.gradient, 5) })));
  if (u.why) out.push(line(`${W.zero} ${fill(W.why[u.why.reason], nameOf(u.why.node))} `, ...(u.why.node !== u.node && u.why.node <= net.output ? [el("button", { textContent: "→", onclick: () => cards[u.why.node].card.scrollIntoView({ block: "nearest", inline: "center" }) })] : [])));
  if (u.bias && u.parts.some(p => p.name === "b" && p.parameter)) out.push(line(`${W.toBias}: ${show(u.gradient, 5)}`));
  if (u.field) out.push(line(fill(W.field, ...u.field.map(([a, b]) => `${a}…${b - 1}`))));
  return out;
}

/** What a cell reads of one array: per channel the window, its factors, the products, and what flows back. */
function windows(u, p, weights) {
  const values = array(p.values), factors = array(p.factors), sizes = p.values.shape, out = [], n = p.channels.length;
  const plane = sizes.length === 4 && p.axis === 1, [h, w] = plane ? sizes.slice(2) : [1, 1], each = values.length / Math.max(1, n);
  const conv = weights?.parameter && u.op.startsWith("conv2d") ? weights : null;
  const products = values.map((v, i) => factors[i] === 0 ? 0 : v * factors[i]);
  const elementwise = values.length === 1;
  if (elementwise) {
    if (u.parts.length > 1 || u.kind === "products") out.push(line(`${nameOf(p.node)} [${p.box.slice(1).map(b => b[0]).join(", ")}] = ${show(values[0], 4)}   ×   ${show(factors[0], 4)}`));
    else out.push(line(`∂y/∂x = ${show(factors[0], 5)}`));
    if (u.gradient !== null) out.push(line(`→ ∂S/∂(${nameOf(p.node)}) : ${show(u.gradient, 5)} × ${show(factors[0], 4)} = ${show(u.gradient * factors[0], 5)}`));
    return out;
  }
  if (!plane || h * w > 169) {                                        // a row of numbers: the largest products
    const order = [...values.keys()].sort((a, b) => Math.abs(products[b]) - Math.abs(products[a])).slice(0, 12);
    const head = ["", W.window, weights?.parameter ? W.filter : W.factor, W.products, W.passes];
    const linear = weights?.parameter && u.op === "linear" ? weights : null;
    const rows = order.map(i => {
      const flat = plane ? `${p.channels[Math.floor(i / each)]}, ${p.box[2][0] + Math.floor(i % each / w)}, ${p.box[3][0] + i % w}` : p.axis < sizes.length && n === values.length ? p.channels[i] : i;
      const change = linear ? el("button", { textContent: show(factors[i], 4), onclick: () => edit(linear.parameter, [u.at[0], p.channels[i]], factors[i]) }) : show(factors[i], 4);
      return [`x[${flat}]`, show(values[i], 4), change, show(products[i], 4), u.gradient === null ? "–" : show(u.gradient * factors[i], 5)];
    });
    out.push(el("div", { className: "wide" }, table(head, rows)));
    const shown = order.reduce((s, i) => s + products[i], 0), rest = values.length - order.length + p.left * each;
    if (rest) out.push(line(`+ ${W.rest(rest, show(p.sum - shown, 4))}`));
    if (linear) out.push(filterTools(linear.parameter, u.at[0]));
    return out;
  }
  const order = [...Array(n).keys()].sort((a, b) => Math.abs(array(p.sums)[b]) - Math.abs(array(p.sums)[a])), sums = array(p.sums);
  const lv = largest(values), lf = largest(factors), lp = largest(products), box = el("div");
  const size = [h, w, ...p.box.slice(2)];
  const add = from => order.slice(from, from + 3).forEach(c => {
    const cut = a => a.slice(c * h * w, (c + 1) * h * w), name = `${nameOf(p.node)}, ${W.map} ${p.channels[c]}`;
    const [v, f, pr] = [cut(values), cut(factors), cut(products)];
    const rows = p.box[2], columns = p.box[3], source = net.nodes[p.node].shape;
    const outside = i => { const r = rows[0] + Math.floor(i / w) * rows[2], q = columns[0] + i % w * columns[2]; return source.length === 3 && (r < 0 || q < 0 || r >= source[1] || q >= source[2]); };
    const win = u.kind === "winner" ? f.findIndex(x => x !== 0) : -1;
    const g = u.gradient ?? 0;
    const first = [matrix(v, h, w, lv, `${W.window}: ${name}, ${rows[0]}…${rows[0] + (rows[1] - 1) * rows[2]} × ${columns[0]}…${columns[0] + (columns[1] - 1) * columns[2]}`, { outside, win })];
    if (u.kind === "products") first.push(op("×"), matrix(f, h, w, lf, conv ? W.filter : W.factor, { click: conv ? k => { const i = u.flip ? h * w - 1 - k : k; edit(conv.parameter, [u.at[0], p.channels[c] - p.box[1][0], Math.floor(i / w), i % w], f[k]); } : null }),
      op("="), matrix(pr, h, w, lp, `${W.products}, ${W.sum} ${show(sums[c], 4)}`));
    else if (u.kind !== "winner") first.push(op("·"), matrix(f, h, w, lf, W.factor));
    if (u.gradient) first.push(op("←"), matrix(f.map(x => x * g), h, w, lf * Math.abs(g), W.passes));
    if (conv && u.gradient) first.push(matrix(v.map(x => x * g), h, w, lv * Math.abs(g), W.toWeights));
    box.append(el("div", { className: "wide" }, el("div", { className: "window" }, ...first)));
  });
  add(0);
  out.push(box);
  const left = n - 3 + p.left;
  if (left > 0) {
    const shown = order.slice(0, 3).reduce((s, c) => s + sums[c], 0);
    const said = line(`+ ${W.rest(left, show(p.sum - shown, 4))} `);
    if (n > 3) { let from = 3; const b = el("button", { textContent: W.more_channels, onclick: () => { add(from); from += 3; if (from >= n) b.remove(); } }); said.append(b); }
    out.push(said);
  }
  if (conv) out.push(filterTools(conv.parameter, u.at[0]));
  return out;
}
const SUPER = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const fixed = v => (v < 0 ? "−" : "") + Math.abs(v).toFixed(2);
const op = text => el("span", { textContent: text });
/** A window of numbers; small ones share a power of ten, so that all have two decimals and one width. */
function matrix(v, h, w, limit, caption, { click = null, win = -1, outside = () => false } = {}) {
  const most = largest(v), power = most < 0.1 && most > 1e-11 ? Math.floor(Math.log10(most)) : most >= 1e4 ? Math.floor(Math.log10(most)) : 0;
  const t = el("table", { className: "m" }, el("caption", { textContent: caption + (power ? `  (· 10${[...String(power)].map(c => SUPER[c]).join("")})` : "") }));
  for (let i = 0; i < h; i++) {
    const tr = el("tr");
    for (let j = 0; j < w; j++) {
      const k = i * w + j, out = outside(k), c = colour(v[k], limit), text = Number.isFinite(v[k]) ? fixed(v[k] / 10 ** power) : v[k] < 0 ? "−∞" : "∞";
      const td = el("td", {}, click ? el("button", { textContent: text, onclick: () => click(k) }) : text);
      td.style.backgroundColor = `rgb(${c})`; td.style.color = ink(c); td.title = show(v[k], 6);
      if (k === win) td.className = "win"; else if (out) { td.className = "out"; td.title = W.padding; }
      tr.append(td);
    }
    t.append(tr);
  }
  return t;
}
function table(head, rows) {
  const cellsOf = (tag, list) => el("tr", {}, ...list.map(v => el(tag, {}, v)));
  return el("table", { className: "t" }, el("thead", {}, cellsOf("th", head)), el("tbody", {}, ...rows.map(r => cellsOf("td", r))));
}

// --------------------------------------------------------------------------------------------- changes by hand

async function changed(now) { $("changed").hidden = !now; await again(); }
$("reset").onclick = act(async () => { abandon(); await ask("/api/reset", {}); if (net.in_page) noTraining(); await changed(false); $("step").replaceChildren(); });
function filterTools(parameter, o) {
  const scale = factor => act(async () => { await ask("/api/scale", { parameter, o, factor }); await changed(true); });
  return el("div", { className: "row" }, el("span", { className: "hint", textContent: `${parameter}[${o}]` }),
    el("button", { textContent: W.off, onclick: scale(0) }), el("button", { textContent: W.turn, onclick: scale(-1) }), el("button", { textContent: W.twice, onclick: scale(2) }));
}
/** A weight: its value to change, and its gradient beside a finite difference. */
function edit(parameter, where, value) {
  $("edit")?.remove();
  const input = el("input", { type: "number", step: "any", value: Number(value).toPrecision(6) }), said = el("span", { className: "eq" });
  const box = el("div", { id: "edit", className: "row" }, el("label", {}, `${W.weight} ${parameter}[${where.join(", ")}] `, input),
    el("button", { textContent: W.set, onclick: act(async () => { await ask("/api/set", { parameter, at: where, value: Number(input.value) }); await changed(true); }) }),
    el("button", { textContent: W.difference, onclick: differ(parameter, where, said) }), said);
  $("why").prepend(box); input.focus();
}
const differ = (parameter, where, said) => act(async () => {
  said.textContent = W.wait;
  const d = await ask("/api/difference", { look: seen.look, k: target(), parameter, at: where });
  said.textContent = `${W.backpropagated} ${show(d.backpropagated, 8)}   ${W.byDifference} ${show(d.difference, 8)}`;
});
function pixel(u) {
  const input = el("input", { type: "range", min: 0, max: 255, value: u.byte }), number = el("span", { className: "eq", textContent: String(u.byte).padStart(3, "\u2007") }), said = el("span", { className: "eq" });
  input.oninput = () => { number.textContent = input.value.padStart(3, "\u2007"); };
  input.onchange = () => { image[(u.at[0] * H + u.at[1]) * Wd + u.at[2]] = Number(input.value); drawImage(); look(); };
  const p = net.preprocessing, mean = p.mean[u.at[0]], std = p.std[u.at[0]];
  return el("div", {}, line(`x = (${u.byte}/255 − ${show(mean, 4)})/${show(std, 4)} = ${show(u.value, 4)}`),
    el("div", { className: "row" }, el("label", { className: "row" }, `${W.pixel} [${u.at.join(", ")}] `, input, number), el("button", { textContent: W.difference, onclick: differ("", u.at, said) }), said));
}

// ------------------------------------------------------------------------------------------- one training step

const train = keep => act(async () => {
  $("step").replaceChildren(line(W.wait));
  const a = await ask("/api/step", { look: seen.look, label: Number($("label").value), rate: Number($("rate").value), keep });
  const p = array(a.probabilities), q = array(a.probabilities_after), order = [...p.keys()].sort((i, j) => Math.max(p[j], q[j]) - Math.max(p[i], q[i])).slice(0, 5);
  if (!order.includes(a.label)) order.push(a.label);
  const percent = v => `${(100 * v).toFixed(2)} %`;
  $("step").replaceChildren(
    line(`L = −ln p(${net.classes[a.label].split(",")[0]}): ${show(a.loss, 5)} → `, el("b", { textContent: show(a.loss_after, 5) })),
    el("div", { className: "wide" }, table(["", W.before, W.after], order.map(i => [net.classes[i].split(",")[0] + (i === a.label ? " ✓" : ""), percent(p[i]), percent(q[i])]))),
    el("h3", { textContent: W.parameters }),
    el("div", { className: "wide" }, table(["", W.values, W.slope, W.change, W.steepest], a.parameters.map(r => [r.name, show(r.values, 4), show(r.gradient, 5), show(r.change, 5),
      `[${r.at.join(", ")}]: ${show(r.before, 5)} − ${a.rate} · ${show(r.slope, 5)} = ${show(r.after, 5)}`]))));
  if (keep) await changed(true);
});
$("try").onclick = train(false);
$("take").onclick = train(true);

// ---------------------------------------------------------------------------------------------- all maps of a node

let opened = null;
const openMaps = act(async id => {
  opened = { id, next: 0 };
  $("maps-title").textContent = `${nameOf(id)}   ${shape(net.nodes[id])}`;
  const n = net.nodes[id];
  $("maps-said").textContent = [n.parameters ? `${n.parameters.toLocaleString()} ${W.parameters}` : "", n.macs ? `${n.macs.toLocaleString()} MACs` : "", n.field ? fill(W.sees, n.field[0][1], n.field[1][1]) : ""].filter(Boolean).join(" · ");
  $("all").replaceChildren(); $("gradients").checked = false; $("gradients").disabled = id > net.output;
  if (!$("maps").open) $("maps").showModal();
  await moreMaps();
});
async function moreMaps() {
  const mine = opened, n = net.nodes[mine.id], question = { look: seen.look, node: mine.id, first: mine.next };
  if ($("gradients").checked) question.gradient_of = target();
  const a = await ask("/api/maps", question);
  if (opened !== mine) return;
  const v = array(a.maps), [count, ...size] = a.maps.shape, flat = n.shape.length !== 3;
  const [h, w] = flat ? [Math.ceil(v.length / 24), Math.min(24, v.length)] : size;
  mine.limit = Math.max(mine.limit ?? 0, a.limit);
  for (let c = 0; c < count; c++) {
    const part = v.subarray(c * (flat ? v.length : h * w), (c + 1) * (flat ? v.length : h * w)), canvas = el("canvas", { width: w, height: h });
    const g = canvas.getContext("2d"), d = g.createImageData(w, h);
    part.forEach((x, i) => d.data.set([...colour(x, a.limit), 255], 4 * i));
    g.putImageData(d, 0, 0);
    canvas.style.width = `${w * Math.max(1, Math.floor(96 / Math.max(h, w)))}px`;
    canvas.onclick = e => {
      const [x, y] = at(canvas, e, w, h).map(Math.floor); let i = y * w + x; const index = [];
      if (flat) { if (i >= part.length) return; for (const s of [...n.shape].reverse()) { index.unshift(i % s); i = Math.floor(i / s); } }
      $("maps").close(); pinned = true; explain(n.id, flat ? index : [a.first + c, y, x]); $("cell").scrollIntoView({ block: "nearest" });
    };
    $("all").append(el("figure", {}, canvas, flat ? "" : `${a.first + c}`));
  }
  mine.next = a.first + count;
  $("more").hidden = flat || mine.next >= a.of;
}
$("more").onclick = act(moreMaps);
$("gradients").onchange = act(async () => { opened = { id: opened.id, next: 0 }; $("all").replaceChildren(); await moreMaps(); });
$("close").onclick = () => $("maps").close();

// ----------------------------------------------------------------------------------------------- curves of a run

let records = [];
async function follow() {
  $("run").hidden = false;
  for (;;) {
    try {
      const reader = (await fetch("/api/curve", { headers: { "X-Token": token } })).body.pipeThrough(new TextDecoderStream()).getReader();
      records = [];
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        text += value;
        const events = text.split("\n\n"); text = events.pop();
        for (const e of events) {
          const kind = /^event: (.*)$/m.exec(e)?.[1], data = /^data: (.*)$/m.exec(e)?.[1];
          if (kind === "again") records = []; else if (kind === "weights") await again(); else if (data) records.push(JSON.parse(data));
        }
        curves();
      }
    } catch { /* the lab has stopped, or the connection broke: try again below */ }
    await new Promise(r => setTimeout(r, 2000));
  }
}
const percentage = v => `${(100 * v).toFixed(1)} %`;
/** Lines over steps or epochs, the first one dashed, under a heading; nothing where there are no numbers. */
function chart(name, series, caption, text, [low, high]) {
  const n = Math.max(1, ...series.map(s => s.length - 1)), now = series.map(s => text(s.at(-1)));
  const point = (v, i) => `${(40 + 250 * i / n).toFixed(1)} ${(15 + 130 * (high - v) / (high - low || 1)).toFixed(1)}`;
  const picture = svg("svg", { viewBox: "0 0 300 175", role: "img", "aria-label": `${name}: ${now.join(", ")}` },
    svg("path", { d: "M40 15V145H290", stroke: "currentColor", "stroke-width": 1 }), Object.assign(svg("text", { x: 2, y: 19 }), { textContent: text(high) }), Object.assign(svg("text", { x: 2, y: 149 }), { textContent: text(low) }),
    Object.assign(svg("text", { x: 40, y: 165 }), { textContent: caption(now) }),
    ...series.map((s, i) => svg("path", { d: "M" + s.map((v, j) => typeof v === "number" ? point(v, j) : null).filter(Boolean).join("L"), stroke: i ? "var(--hot)" : "var(--cold)", "stroke-dasharray": i || series.length === 1 ? "none" : "5 3" })));
  return [el("h3", { textContent: name }), picture];
}
function curves() {
  const caption = now => `${W.epoch} ${records.length}   ${now.map((v, i) => `${i ? W.validation : W.training} ${v}`).join("   ")}`;
  const draw = (keys, name, percent) => {
    const series = keys.map(k => records.map(r => r[k])).filter(s => s.some(v => typeof v === "number")), all = series.flat().filter(v => typeof v === "number");
    return all.length ? chart(name, series, caption, percent ? percentage : v => show(v, 3), percent ? [Math.min(...all), 1] : [0, Math.max(...all)]) : [];
  };
  $("curves").replaceChildren(...draw(["loss", "val_loss"], W.loss, false), ...draw(["accuracy", "val_accuracy"], W.accuracy, true));
}

// ----------------------------------------------------------- without a server: another net, and training in the page

const openModel = act(async file => { abandon(); await ask("/api/open", file); await openNet(); });
$("weights").onchange = e => { if (e.target.files[0]) openModel(e.target.files[0]); e.target.value = ""; };

const LOOK_EVERY = 10;
let training = null, losses = [];
/** Step after step until the button is pressed again; the picture is looked at now and then, the test digits each epoch. */
$("live-train").onclick = async () => {
  if (training?.goes) return pause();
  const mine = training = { goes: true, counts: true };
  $("live-train").textContent = W.pause; $("changed").hidden = false;
  let step = 0;
  try {
    while (mine.goes) {
      const since = performance.now(), a = await ask("/api/train", { steps: 1, rate: Number($("live-rate").value) });
      if (!mine.counts) return;
      step = a.step; losses.push(...a.losses); lossCurve(performance.now() - since);
      if (step % LOOK_EVERY === 0 || !mine.goes) await again();
      if (mine.counts && (step % net.epoch === 0 || !mine.goes)) await test(step);
    }
    tell(null);
  } catch (problem) { tell(problem); } finally { if (training === mine) pause(); }
};
function pause() { if (training) training.goes = false; $("live-train").textContent = W.trainIt; }
/** Ends a training whose net is gone. */
function abandon() { pause(); if (training) training.counts = false; training = null; }
async function test(step) { const a = await ask("/api/test"); $("live-test").textContent = fill(W.liveTest, a.right.toLocaleString(), a.of.toLocaleString(), step); }
function lossCurve(time) {
  const now = losses.at(-1);
  $("live-said").textContent = fill(W.liveStep, losses.length, show(now, 4), Math.round(time));
  $("curves").replaceChildren(...chart(W.loss, [losses], () => fill(W.liveStep, losses.length, show(now, 3), Math.round(time)), v => show(v, 2), [0, Math.max(...losses)]));
}
function noTraining() { losses = []; for (const id of ["live-said", "live-test", "curves"]) $(id).replaceChildren(); }
$("live-random").onclick = act(async () => { abandon(); await ask("/api/random", {}); noTraining(); await changed(true); });

// ----------------------------------------------------------------------------------------------------------- start

/** Shows the net that is open: all of the page begins anew. */
async function openNet() {
  [net, samples] = await Promise.all([ask("/api/net"), ask("/api/samples")]);
  [C, H, Wd] = net.input;
  image = new Uint8Array(C * H * Wd);
  $("about").textContent = `${net.name} · ${net.input.join("×")} · ${net.parameters.toLocaleString()} ${W.parameters} · ${net.macs.toLocaleString()} MACs`;
  document.title = `${net.name} – minicnn lab`;
  $("stack").style.aspectRatio = `${Wd} / ${H}`;
  const options = () => net.classes.map((name, i) => el("option", { value: i, textContent: name.split(",")[0] }));
  $("class").replaceChildren(el("option", { value: "", textContent: W.most }), ...options());
  $("label").replaceChildren(...options());
  build();
  [chosen, here, pinned] = [null, null, false];
  frame(null); $("marks").replaceChildren(); $("why").replaceChildren(); $("step").replaceChildren(); $("cell-title").textContent = W.point;
  $("changed").hidden = true; $("open").hidden = !net.in_page;
  if (net.in_page) { $("run").hidden = $("live").hidden = !net.trains; noTraining(); }
  const pictures = array(samples.images), size = C * H * Wd;
  $("samples").replaceChildren(...samples.labels.map((label, i) => {
    const canvas = el("canvas"), bytes = pictures.slice(i * size, (i + 1) * size);
    drawImage(canvas, bytes);
    const b = el("button", { title: net.classes[label], onclick: () => { image = bytes.slice(); $("label").value = label; drawImage(); look(); } }, canvas);
    b.setAttribute("aria-label", net.classes[label]);
    return b;
  }));
  if (samples.labels.length) { image = pictures.slice(0, size); $("label").value = samples.labels[0]; }
  drawImage();
  await look();
}
async function start() {
  document.documentElement.lang = language;
  for (const e of document.querySelectorAll("[data-word]")) e.textContent = W[e.dataset.word];
  for (const e of document.querySelectorAll("[data-label]")) e.setAttribute("aria-label", W[e.dataset.label]);
  await openNet();
  night.addEventListener("change", () => { nodes(); if (here) explain(here.node, here.at); });
  if (net.follows) follow();
  document.documentElement.dataset.ready = "";
}
if (typeof document !== "undefined" && document.getElementById("pad")) act(start)();
