// The app's page. It asks the server for plain answers, and writes text only: no string ever becomes markup.

const WORDS = {
  en: {
    picture: "Your picture", drop: "Drop a picture here or anywhere, paste one, or choose one below.", choose: "Choose a picture", photo: "Take a photo",
    shoot: "Take this picture", close: "Close", show: "Show the evidence", little: "little", much: "much",
    seen: "These {0} × {1} pixels are what the net gets. The brighter, the more the place counts for “{2}” (Grad-CAM: the maps of the last convolution, each weighted by how much the score of this class grows with it).",
    unseen: "These {0} × {1} pixels are what the net gets.", bright: "The edge is bright, but this model expects bright digits on black.", swap: "Swap dark and bright",
    waiting: "No picture yet", sure: "{0} %", top: "The five most probable classes, of {0}; all together have 100 %. Choose one to see the evidence for it.", all: "All {0} classes; together they have 100 %. Choose one to see the evidence for it.",
    wrong: "Was that wrong?", really: "It is", tell: "Correct it", where: "The picture is stored in the folder of its class in {0}.",
    filedAs: "Stored as “{0}”: {1}", already: "It was stored as “{0}” already: {1}", undo: "Undo", undone: "Taken back.",
    teach: "Learn from corrections", count: "Corrected pictures in {1}: {0}", none: "There are no corrected pictures in {0} yet.",
    train: "Retrain", meanwhile: "In the background; answers go on.", stop: "Stop", progress: "Progress of the retraining",
    what: { start: "starting", features: "computing features", training: "training", comparing: "comparing" }, left: "{0} {1} %, {2}", seconds: "about {0} s left",
    old: "old model", new: "new model", heldTest: "Right of {0} test pictures, never trained on", heldValidation: "Right of {0} validation pictures, which chose the epoch",
    corrected: "Right of {0} corrected pictures, trained on", notEvidence: "The new model was trained on the corrected pictures, so they are no evidence.",
    differ: "Held-out pictures that only the old model gets right: {0}; only the new one: {1}. A difference of a few may be chance.", leftOut: "Left out, because they were corrected too: {0}.", nothingHeld: "No pictures are held out, so the models can't be compared.",
    keptNew: "The new model is better, and is used now. The old one is kept.", keptOld: "The new model is not better: the old one stays.",
    useOld: "Use the old one", useNew: "Use the new one", usesOld: "The old model is used, as you chose.", usesNew: "The new model is used, as you chose.", failed: "The retraining failed: {0}", stopped: "Stopped. The model is as before.",
    privacy: "Pictures go only to the computer that runs this page. Only corrected ones are stored there.", readOnly: "Pictures go only to the computer that runs this page, and are not stored.", lost: "The app does not answer: does it still run?", tooLarge: "This picture has more than {0} MB: choose a smaller one.", class: "class",
    trained: "{0} classes · {1} × {2} pixels", cannot: "It can't be retrained: {0}.",
  },
  ko: {
    picture: "사진", drop: "여기나 아무 곳에 사진을 놓거나, 붙여 넣거나, 아래에서 고르세요.", choose: "사진 고르기", photo: "사진 찍기",
    shoot: "이 장면 찍기", close: "닫기", show: "근거 보기", little: "적음", much: "많음",
    seen: "신경망이 받는 {0} × {1} 픽셀입니다. 밝을수록 “{2}”에 중요한 곳입니다(Grad-CAM: 마지막 합성곱의 맵들을, 이 클래스의 점수를 얼마나 키우는지에 따라 더한 것).",
    unseen: "신경망이 받는 {0} × {1} 픽셀입니다.", bright: "가장자리가 밝습니다. 이 모델은 검은 바탕의 밝은 숫자를 기대합니다.", swap: "명암 뒤집기",
    waiting: "아직 사진이 없습니다", sure: "{0} %", top: "클래스 {0}개 가운데 확률이 높은 다섯 개입니다. 모두 더하면 100 %입니다. 하나를 고르면 그 근거를 보여 줍니다.", all: "클래스 {0}개 모두이며, 더하면 100 %입니다. 하나를 고르면 그 근거를 보여 줍니다.",
    wrong: "틀렸나요?", really: "정답", tell: "바로잡기", where: "사진은 {0} 안의 그 클래스 폴더에 저장됩니다.",
    filedAs: "“{0}”(으)로 저장했습니다: {1}", already: "이미 “{0}”(으)로 저장되어 있습니다: {1}", undo: "되돌리기", undone: "되돌렸습니다.",
    teach: "바로잡은 사진으로 학습", count: "{1}에 있는 바로잡은 사진: {0}장", none: "{0}에 아직 바로잡은 사진이 없습니다.",
    train: "다시 학습", meanwhile: "백그라운드에서 학습하며, 그동안에도 답합니다.", stop: "멈추기", progress: "다시 학습의 진행",
    what: { start: "시작", features: "특성 계산", training: "학습", comparing: "비교" }, left: "{0} {1} %, {2}", seconds: "약 {0}초 남음",
    old: "이전 모델", new: "새 모델", heldTest: "학습에 쓰지 않은 시험 사진 {0}장 가운데 맞힌 것", heldValidation: "에폭을 고르는 데 쓴 검증 사진 {0}장 가운데 맞힌 것",
    corrected: "학습에 쓴 바로잡은 사진 {0}장 가운데 맞힌 것", notEvidence: "새 모델은 바로잡은 사진으로 학습했으므로 그것은 증거가 아닙니다.",
    differ: "따로 둔 사진 가운데 이전 모델만 맞힌 것은 {0}장, 새 모델만 맞힌 것은 {1}장입니다. 몇 장의 차이는 우연일 수 있습니다.", leftOut: "바로잡은 사진이기도 해서 뺀 것: {0}장.", nothingHeld: "따로 둔 사진이 없어서 두 모델을 비교할 수 없습니다.",
    keptNew: "새 모델이 더 좋아서 이제 새 모델을 씁니다. 이전 모델도 보관합니다.", keptOld: "새 모델이 더 좋지 않아서 이전 모델을 계속 씁니다.",
    useOld: "이전 모델 쓰기", useNew: "새 모델 쓰기", usesOld: "고른 대로 이전 모델을 씁니다.", usesNew: "고른 대로 새 모델을 씁니다.", failed: "다시 학습하지 못했습니다: {0}", stopped: "멈추었습니다. 모델은 그대로입니다.",
    privacy: "사진은 이 페이지를 실행하는 컴퓨터로만 갑니다. 바로잡은 사진만 그곳에 저장됩니다.", readOnly: "사진은 이 페이지를 실행하는 컴퓨터로만 가고, 저장되지 않습니다.", lost: "앱이 응답하지 않습니다. 아직 실행 중인가요?", tooLarge: "사진이 {0} MB보다 큽니다. 더 작은 것을 고르세요.", class: "클래스",
    trained: "클래스 {0}개 · {1} × {2} 픽셀", cannot: "다시 학습할 수 없습니다: {0}.",
  },
};
const language = (navigator.languages?.[0] ?? navigator.language ?? "en").toLowerCase().startsWith("ko") ? "ko" : "en";
const W = WORDS[language];
const fill = (text, ...values) => text.replace(/\{(\d)\}/g, (_, i) => values[i]);
const $ = id => document.getElementById(id);
function el(tag, properties = {}, ...children) { const e = Object.assign(document.createElement(tag), properties); e.append(...children); return e; }

// ------------------------------------------------------------------------------------------------------- questions

const MOST = 16 * 2 ** 20, TYPES = "image/png,image/jpeg,image/webp,image/gif,image/bmp,image/tiff";
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
async function ask(path, question) {
  const bytes = question instanceof Blob, headers = { "X-Token": token };
  if (question !== undefined) headers["Content-Type"] = bytes ? "application/octet-stream" : "application/json";
  let reply;
  try {
    reply = await fetch(path, { method: question === undefined ? "GET" : "POST", headers, body: question === undefined ? undefined : bytes ? question : JSON.stringify(question) });
  } catch { throw new Error(W.lost); }
  const answer = await reply.json();
  if (!reply.ok) throw new Error(answer.error);
  return answer;
}
function tell(problem) { $("error").textContent = problem ? problem.message : ""; $("error").hidden = !problem; }
/** An action of the user: what goes wrong is said at the top of the page. */
const act = f => async (...given) => { try { await f(...given); tell(null); } catch (problem) { tell(problem); } };
/** The bytes of {shape, type, data} as a typed array. */
export function array(a) {
  const bytes = Uint8Array.from(atob(a.data), c => c.charCodeAt(0));
  return a.type === "u1" ? bytes : new Float32Array(bytes.buffer);
}
/** A probability as 98.23, always six characters wide. */
export const percent = p => (100 * p).toFixed(2).padStart(6, "\u2007");
const short = name => name.split(",")[0];

// ---------------------------------------------------------------------------------------------------------- answer

let about, shown = null, file = null, chosen = 0, turn = 0;
/** Ask something about a picture; only the latest answer is shown. */
async function look(path, question) {
  const mine = ++turn;
  $("answer").setAttribute("aria-busy", "true");
  try { const a = await ask(path, question); if (mine === turn) await show(a); }
  finally { if (mine === turn) $("answer").setAttribute("aria-busy", "false"); }
}
const picture = act(async blob => {
  if (blob.size > MOST) throw new Error(fill(W.tooLarge, MOST / 2 ** 20));
  $("filed").hidden = true; file = blob;
  await look("/api/picture", blob);
});
async function show(answer) {
  const [C, H, Wd] = about.input, bytes = array(answer.image), canvas = $("picture"), n = H * Wd;
  shown = answer; chosen = answer.top[0].index;
  canvas.width = Wd; canvas.height = H;
  const g = canvas.getContext("2d"), d = g.createImageData(Wd, H);
  for (let i = 0; i < n; i++) d.data.set([bytes[i], bytes[C === 1 ? i : n + i], bytes[C === 1 ? i : 2 * n + i], 255], 4 * i);
  g.putImageData(d, 0, 0);
  canvas.className = Math.max(H, Wd) < 100 ? "coarse" : "";
  $("frame").className = ""; canvas.hidden = false; $("seeing").hidden = false;
  $("bright").hidden = !answer.bright && !answer.swapped;
  const best = answer.top[0];
  headline(short(best.class), fill(W.sure, percent(best.probability).trim()));
  bars(); heat();
  $("correct").hidden = !about.teach;
  $("class").value = String((answer.top[1] ?? best).index);
}
function headline(text, below) { $("headline").replaceChildren(el("span", { textContent: text, title: text }), el("small", { textContent: below })); }
function bars() {
  const buttons = () => [...$("bars").querySelectorAll("button")], focused = buttons().indexOf(document.activeElement);
  const rows = shown ? shown.top : Array.from({ length: Math.min(5, about.classes.length) }, () => null);
  $("bars").replaceChildren(...rows.map(row => {
    const bar = el("i"); bar.style.width = `${row ? 100 * row.probability : 0}%`;
    const b = el("button", { type: "button", disabled: !row, title: row?.class ?? "", onclick: () => { chosen = row.index; bars(); heat(); } },
      el("span", { textContent: row ? short(row.class) : "–" }), el("span", { className: "track" }, bar), el("span", { className: "percent", textContent: row ? `${percent(row.probability)} %` : "" }));
    if (row) { b.setAttribute("aria-pressed", row.index === chosen); b.setAttribute("aria-label", `${row.class}: ${percent(row.probability).trim()} %`); }
    return el("li", {}, b);
  }));
  if (focused >= 0) buttons()[focused]?.focus();
}
const RAMP = [[60, 15, 110], [140, 30, 120], [217, 72, 59], [251, 155, 6], [252, 245, 160]];
/** Nothing for 0, from dark to bright up to 1: [r, g, b, alpha]. */
export function glow(t) {
  const at = Math.max(0, Math.min(1, t)) * (RAMP.length - 1), i = Math.min(RAMP.length - 2, Math.floor(at)), f = at - i;
  return [...RAMP[i].map((v, c) => Math.round(v + (RAMP[i + 1][c] - v) * f)), Math.round(180 * (1 - (1 - Math.max(0, Math.min(1, t))) ** 2))];
}
const heat = act(async () => {
  const [, H, Wd] = about.input, mine = shown, k = chosen, name = short(about.classes[k]);
  $("picture").setAttribute("aria-label", fill(W.unseen, H, Wd));
  if (!about.layer || !$("show").checked) { $("heat").hidden = true; $("seen").textContent = fill(W.unseen, H, Wd); return; }
  $("seen").textContent = fill(W.seen, H, Wd, name);
  const { map, place } = await ask("/api/evidence", { picture: mine.picture, k });
  if (mine !== shown || k !== chosen || !$("show").checked) return;
  const [h, w] = map.shape, v = array(map), limit = v.reduce((a, b) => Math.max(a, b), 1e-12), canvas = $("heat");
  canvas.width = w + 2; canvas.height = h + 2;                        // with a rim of nothing, into which it fades
  const g = canvas.getContext("2d"), d = g.createImageData(w, h), [top, left, height, width] = place;
  v.forEach((x, i) => d.data.set(glow(x / limit), 4 * i));
  g.putImageData(d, 1, 1);
  const sides = { top: top - height / h, left: left - width / w, height: height + 2 * height / h, width: width + 2 * width / w };
  for (const side in sides) canvas.style[side] = `${100 * sides[side]}%`;
  canvas.hidden = false;
});
/** The same picture, asked about again: of another model, or after it was forgotten. */
const again = act(() => look("/api/again", { picture: shown.picture, swapped: shown.swapped }).catch(() => look("/api/picture", file)));
$("show").onchange = () => { if (shown) heat(); };
$("swap").onclick = act(() => look("/api/again", { picture: shown.picture, swapped: !shown.swapped }));

// ----------------------------------------------------------------------------------------------------------- input

for (const id of ["file", "photo"]) {
  $(id).accept = TYPES;
  $(id).onchange = e => { if (e.target.files[0]) picture(e.target.files[0]); e.target.value = ""; };
}
let inside = 0;
const over = by => { inside = Math.max(0, inside + by); $("frame").classList.toggle("over", inside > 0); };
addEventListener("dragenter", () => over(1));
addEventListener("dragleave", () => over(-1));
addEventListener("dragover", e => e.preventDefault());
addEventListener("drop", e => { e.preventDefault(); over(-inside); const f = e.dataTransfer?.files[0]; if (f) picture(f); });
addEventListener("paste", e => { const f = [...(e.clipboardData?.files ?? [])].find(f => f.type.startsWith("image/")); if (f) picture(f); });
$("camera").onclick = act(async () => {
  $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  $("booth").hidden = false; await $("video").play(); $("shoot").focus();
});
function closeBooth() { $("video").srcObject?.getTracks().forEach(t => t.stop()); $("video").srcObject = null; $("booth").hidden = true; $("camera").focus(); }
$("close").onclick = closeBooth;
$("shoot").onclick = () => {
  const v = $("video"), c = el("canvas", { width: v.videoWidth, height: v.videoHeight });
  c.getContext("2d").drawImage(v, 0, 0); closeBooth(); c.toBlob(b => picture(b), "image/png");
};

// ------------------------------------------------------------------------------------------------------- corrections

let filed = null;
$("correct").onsubmit = e => e.preventDefault();
$("tell").onclick = act(async () => {
  const k = Number($("class").value), a = await ask("/api/file", { picture: shown.picture, k });
  filed = a.filed;
  $("filed-said").textContent = fill(a.new ? W.filedAs : W.already, short(about.classes[k]), a.path);
  $("undo").hidden = !a.new; $("filed").hidden = false;
  await state();
});
$("undo").onclick = act(async () => {
  await ask("/api/undo", { filed });
  $("filed-said").textContent = W.undone; $("undo").hidden = true; $("tell").focus();
  await state();
});

// -------------------------------------------------------------------------------------------------------- retraining

$("train").onclick = act(async () => { await ask("/api/train", {}); await state(); });
$("stop").onclick = act(async () => { await ask("/api/stop", {}); await state(); });
$("other").onclick = act(async () => { await ask("/api/choose", { model: $("other").dataset.model }); await state(); });
async function state() { teach(await ask("/api/state")); }
function teach(s) {
  const t = s.training, running = t.state === "running", focused = document.activeElement;
  about.teach = s;
  $("teach").hidden = false;
  $("count").textContent = s.filed ? fill(W.count, s.filed, s.folder) : fill(W.none, s.folder);
  $("where").textContent = fill(W.where, s.folder);
  $("missing").hidden = !s.missing; $("missing").textContent = fill(W.cannot, s.missing);
  $("start").hidden = running || !!s.missing; $("train").disabled = !s.filed;
  $("running").hidden = !running;
  if (focused === $(running ? "train" : "stop")) $(running ? "stop" : "train").focus();   // not lost with the button
  if (running) {
    const share = t.of ? t.done / t.of : 0;
    if (t.of) $("bar").value = share; else $("bar").removeAttribute("value");
    const left = share > .02 && t.what !== "comparing" ? fill(W.seconds, String(Math.ceil(t.seconds * (1 - share) / share)).padStart(3, "\u2007")) : "…";
    $("far").textContent = fill(W.left, W.what[t.what] ?? t.what, String(Math.round(100 * share)).padStart(3, "\u2007"), left);
  }
  $("result").hidden = !["done", "failed", "stopped"].includes(t.state);
  if (t.state !== "done") { $("verdict").textContent = t.state === "failed" ? fill(W.failed, t.error) : W.stopped; $("differ").textContent = ""; $("rows").replaceChildren(); $("other").hidden = true; $("rows").closest("table").hidden = true; }
  else compared(t);
  if (shown && shown.number !== s.number) { shown.number = s.number; again(); }
}
function compared(t) {
  const { held, corrected, doubt } = t.result, row = (said, counts) => {
    const cell = which => el("td", { className: which === t.used ? "used" : "", textContent: String(counts[which]) }, el("small", { textContent: `${(100 * counts[which] / counts.pictures).toFixed(1)} %` }));
    const head = el("th", { textContent: fill(said, counts.pictures) }); head.scope = "row";
    return el("tr", {}, head, cell("old"), cell("new"));
  };
  $("verdict").textContent = t.used !== t.kept ? (t.used === "new" ? W.usesNew : W.usesOld) : t.kept === "new" ? W.keptNew : W.keptOld;
  $("rows").replaceChildren(...(held ? [row(held.part === "test" ? W.heldTest : W.heldValidation, held)] : []), row(W.corrected, corrected));
  $("rows").closest("table").hidden = false;
  $("differ").textContent = [held ? fill(W.differ, held.only_old, held.only_new) : W.nothingHeld, held?.left_out ? fill(W.leftOut, held.left_out) : "", W.notEvidence, doubt].filter(Boolean).join(" ");
  $("other").hidden = false; $("other").dataset.model = t.used === "new" ? "old" : "new";
  $("other").textContent = t.used === "new" ? W.useOld : W.useNew;
}
async function poll() {
  for (;;) {
    await new Promise(r => setTimeout(r, about.teach?.training.state === "running" ? 400 : 4000));
    if (document.hidden) continue;
    try { await state(); } catch { /* the app has stopped, or is busy: ask again */ }
  }
}

// ----------------------------------------------------------------------------------------------------------- start

async function start() {
  document.documentElement.lang = language;
  about = await ask("/api/about");
  for (const e of document.querySelectorAll("[data-word]")) e.textContent = fill(W[e.dataset.word], about.classes.length);
  for (const e of document.querySelectorAll("[data-label]")) e.setAttribute("aria-label", W[e.dataset.label]);
  $("name").textContent = about.name; document.title = about.name;
  $("about").textContent = fill(W.trained, about.classes.length, about.input[1], about.input[2]);
  if (about.classes.length <= 5) document.querySelector("[data-word=top]").textContent = fill(W.all, about.classes.length);
  headline(W.waiting, "\u00a0"); bars();
  $("frame").style.aspectRatio = `${about.input[2]} / ${about.input[1]}`;
  const touch = matchMedia("(pointer: coarse)").matches;
  $("snap").hidden = !touch; $("camera").hidden = touch || !navigator.mediaDevices?.getUserMedia;  // a camera needs a secure context
  if (about.teach) {
    $("class").replaceChildren(...about.teach.classes.map(i => el("option", { value: i, textContent: short(about.classes[i]) })));
    teach(about.teach); poll();
  } else document.querySelector("footer p").textContent = W.readOnly;
  document.documentElement.dataset.ready = "";
}
if (typeof document !== "undefined" && document.getElementById("frame")) act(start)();
