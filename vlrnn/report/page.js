"use strict";
// Draws the items of the page: cards with pictures, words that show where the model attention, and a browser over them.
// What the data say goes into the page as text alone, never as markup.

const sections = JSON.parse(document.getElementById("content").textContent);
const PAGE = 48; // cards that the browser adds at a time

function make(tag, settings = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name === "text") node.textContent = value;
    else if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// Pictures: each stands once in the file, and is decoded when it scrolls into view.

function load(image) {
  const held = document.getElementById("picture-" + image.dataset.picture);
  if (held) image.src = held.textContent;
  else image.parentElement.hidden = true;
}

const inView = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    inView.unobserve(target);
    load(target);
  }
}, { rootMargin: "400px" });

function watch(root) {
  for (const image of root.querySelectorAll("img[data-picture]:not([src])")) inView.observe(image);
}

// Attention: a dark overlay on the picture, transparent where the weights of a word are large.

function mapsOf(attention) {
  const bytes = Uint8Array.from(atob(attention.maps), (letter) => letter.charCodeAt(0));
  const regions = bytes.length / attention.peaks.length;
  const side = Math.floor(Math.sqrt(regions));
  return { side, of: (word) => bytes.subarray(word * regions, word * regions + side * side) };
}

function drawOverlay(canvas, side, shares) {
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const overlay = context.createImageData(side, side);
  shares.forEach((share, place) => { overlay.data[4 * place + 3] = 0.82 * (255 - share); });
  context.putImageData(overlay, 0, 0);
}

function percent(share) {
  if (share < 0.001) return "< 0.1 %";
  if (share > 0.999) return "> 99.9 %";
  return (100 * share).toFixed(share < 0.1 || share > 0.99 ? 1 : 0) + " %";
}

function formatted(score) {
  return score === null ? "" : String(Math.round(1000 * score) / 1000);
}

// The words of an output; one that is hovered, focused or tapped shows its probability and its attention.

function outputWords(output, frame) {
  const line = make("p", { class: "output" });
  const status = make("p", { class: "note status", "aria-live": "polite" });
  if (!output.tokens.length || !output.log_probs.length) {
    line.textContent = output.text || "(empty)";
    return [line];
  }
  const attention = output.attention && output.attention.maps && frame ? output.attention : null;
  const maps = attention && mapsOf(attention);
  const overlay = attention && frame.appendChild(make("canvas", { hidden: "" }));
  const words = output.log_probs.map((_, place) => output.tokens[place] ?? "(end)");
  const buttons = words.map((word, place) => {
    const probability = Math.exp(output.log_probs[place]);
    const button = make("button", { type: "button", class: place < output.tokens.length ? "word" : "word end", text: word });
    button.style.borderBottomColor = `color-mix(in srgb, var(--bad) ${Math.round(100 * (1 - probability))}%, transparent)`;
    const show = () => {
      buttons.forEach((each) => each.classList.toggle("current", each === button));
      const parts = [`“${word}”: probability ${percent(probability)}, log ${output.log_probs[place].toFixed(2)}`];
      if (attention && place < attention.peaks.length) {
        drawOverlay(overlay, maps.side, maps.of(place));
        overlay.hidden = false;
        parts.push(`most attention on a region ${percent(attention.peaks[place])}`);
        if (attention.gates.length) parts.push(`gate ${attention.gates[place].toFixed(2)}`);
      }
      status.textContent = parts.join(", ");
    };
    for (const event of ["mouseenter", "focus", "click"]) button.addEventListener(event, show);
    return button;
  });
  const text = output.tokens.length === output.log_probs.length && output.tokens.join("") === output.text; // has its own spaces
  if (text) line.classList.add("text");
  line.append(...buttons.flatMap((button) => text ? [button] : [button, " "]));
  line.addEventListener("mouseleave", () => {
    buttons.forEach((each) => each.classList.remove("current"));
    if (overlay) overlay.hidden = true;
    status.textContent = "";
  });
  return [line, status];
}

function answerBars(section, output, place) {
  const likely = output.others.filter((each) => each.score >= 0.005);
  const answers = [{ text: output.text, score: output.confidence }, ...likely].filter((each) => each.score !== null);
  if (!answers.length || answers.some((each) => each.score < 0 || each.score > 1)) return null;
  const bars = answers.flatMap((each) => {
    const fill = make("i", { class: `fill c${place % 8}` });
    fill.style.width = 100 * each.score + "%";
    return [make("span", { text: each.text || "(empty)" }), make("span", { class: "bar" }, fill), make("span", { text: percent(each.score) })];
  });
  const name = make("span", { class: "note measure", text: section.runs[place].score_name });
  return make("div", { class: "answers" }, name, ...bars);
}

function hypotheses(section, output) {
  if (!output.others.length) return null;
  const lines = output.others.map((each) => make("li", { text: each.text + (each.score === null ? "" : `  (${formatted(each.score)})`) }));
  const own = output.confidence === null ? "" : `; the first has ${formatted(output.confidence)}`;
  const summary = section.is_text ? "continuations that the model generated instead" : `${lines.length} other hypotheses, by ${section.runs[0].score_name}${own}`;
  return make("details", {}, make("summary", { text: summary }), make("ul", { class: "references" }, ...lines));
}

function card(section, item) {
  const [first, ...others] = item.outputs;
  const figure = make("figure");
  const frame = item.picture === null ? null : make("div", { class: "frame" }, make("img", { "data-picture": item.picture, alt: item.image }));
  const caption = make("figcaption");
  if (item.question) caption.append(make("p", { class: "question", text: item.question }));
  caption.append(...outputWords(first, frame));
  const chips = make("div");
  if (first.score !== null) chips.append(make("span", { class: "chip", text: `${section.unit} ${formatted(first.score)}` }), " ");
  if (first.log_probs.length && !section.has_questions) chips.append(make("span", { class: "chip", text: `log probability ${formatted(first.log_probs.reduce((one, other) => one + other))}` }), " ");
  for (const name of item.hallucinated ?? []) chips.append(make("span", { class: "chip bad", text: `hallucinated: ${name}` }), " ");
  caption.append(chips);
  const bars = section.has_questions ? answerBars(section, first, 0) : hypotheses(section, first);
  if (bars) caption.append(bars);
  others.forEach((output, place) => {
    if (output === null) return;
    const score = output.score === null ? "" : ` (${formatted(output.score)})`;
    caption.append(make("p", { class: "other" }, make("span", { class: "note", text: section.runs[place + 1].name + ": " }), (output.text || "(empty)") + score));
    const bars = section.has_questions && !section.runs[place + 1].baseline ? answerBars(section, output, place + 1) : null;
    if (bars) caption.append(bars);
  });
  if (item.references.length) {
    const lines = item.references.map((text) => make("li", { text }));
    caption.append(make("ul", { class: "references" }, ...lines));
  }
  caption.append(make("div", { class: "note", text: String(item.id) }));
  figure.append(...[frame, caption].filter(Boolean));
  return figure;
}

// The browser: the items that fit the filters, some at a time.

function counted(section, kinds) {
  const counts = new Map();
  for (const item of section.items) for (const kind of kinds(item)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1] || (one[0] < other[0] ? -1 : 1));
}

function choice(label, options, act) {
  const select = make("select", { on: { change: act } }, ...options.map(([value, text]) => make("option", { value, text })));
  return [select, make("label", { text: label }, select)];
}

function field(label, settings, act) {
  const input = make("input", { ...settings, on: { input: act } });
  return [input, make("label", { text: label }, input)];
}

function browser(root, section) {
  const texts = section.items.map((item) =>
    [item.id, item.image, item.question, ...item.references, ...item.outputs.map((output) => output?.text ?? "")].join("\n").toLowerCase());
  const grid = make("div", { class: "grid" });
  const count = make("p", { class: "note", "aria-live": "polite" });
  const more = make("button", { type: "button", text: "more", on: { click: () => add() } });
  let left = [];

  const add = () => {
    grid.append(...left.splice(0, PAGE).map((place) => card(section, section.items[place])));
    watch(grid);
    more.hidden = !left.length;
  };
  const apply = () => {
    const sought = text.value.trim().toLowerCase();
    const [low, high] = [least, most].map((input) => (input.value === "" ? null : Number(input.value)));
    const fits = (item, place) => {
      const score = item.outputs[0].score;
      return texts[place].includes(sought)
        && (low === null || (score !== null && score >= low))
        && (high === null || (score !== null && score <= high))
        && (!object.value || (object.value === "*" ? item.hallucinated?.length : item.hallucinated?.includes(object.value.slice(1))))
        && (!type.value || item.question_type === type.value);
    };
    left = section.items.map((_, place) => place).filter((place) => fits(section.items[place], place));
    if (order.value === "best") left.reverse();
    count.textContent = `${left.length.toLocaleString("en")} of ${section.items.length.toLocaleString("en")}`;
    grid.replaceChildren();
    add();
  };

  const [text, textLabel] = field("text", { type: "search", placeholder: "in outputs, references, file names" }, apply);
  const [least, leastLabel] = field(`${section.unit} from`, { type: "number", step: "any" }, apply);
  const [most, mostLabel] = field("to", { type: "number", step: "any" }, apply);
  const objects = counted(section, (item) => item.hallucinated ?? []).map(([name, times]) => ["=" + name, `${name} (${times})`]);
  const [object, objectLabel] = choice("hallucinated object", [["", "all"], ["*", "any"], ...objects], apply);
  const types = counted(section, (item) => (item.question_type ? [item.question_type] : [])).map(([name, times]) => [name, `${name} (${times})`]);
  const [type, typeLabel] = choice("question type", [["", "all"], ...types], apply);
  const [order, orderLabel] = choice("order", [["worst", "worst first"], ["best", "best first"]], apply);
  const scored = section.items.some((item) => item.outputs[0].score !== null);
  const controls = [textLabel, ...(scored ? [leastLabel, mostLabel] : []), ...(objects.length ? [objectLabel] : []), ...(types.length ? [typeLabel] : []), ...(scored ? [orderLabel] : [])];
  root.append(make("div", { class: "controls" }, ...controls), count, grid, more);
  apply();
}

for (const grid of document.querySelectorAll(".grid[data-items]")) {
  const section = sections[grid.dataset.section];
  grid.append(...grid.dataset.items.split(" ").map((place) => card(section, section.items[place])));
}
for (const root of document.querySelectorAll(".browser")) browser(root, sections[root.dataset.section]);
watch(document);
window.addEventListener("beforeprint", () => document.querySelectorAll("img[data-picture]:not([src])").forEach(load));
