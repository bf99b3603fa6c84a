// What the page does: filter, sort, open a cell, show a figure's values. Writes text, never HTML.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const panel = document.getElementById("panel");
const tip = document.getElementById("tip");
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function make(tag, text = "", ...children) {
  const node = document.createElement(tag);
  node.append(...(text === "" ? [] : [text]), ...children);
  return node;
}

// -- filter ---------------------------------------------------------------------------------------

const chosen = { sets: document.getElementById("dataset"), blocks: document.getElementById("block") };

function filter() {
  for (const option of chosen.blocks.options) {
    option.hidden = option.disabled =
      option.value !== "" && chosen.sets.value !== "" && option.dataset.set !== chosen.sets.value;
  }
  if (chosen.blocks.selectedOptions[0].disabled) chosen.blocks.value = "";
  for (const part of all("[data-blocks]")) {
    part.hidden = !Object.entries(chosen).every(
      ([name, select]) => select.value === "" || part.dataset[name].split(" ").includes(select.value)
    );
  }
  for (const section of all("main > section")) {
    section.hidden = !all("[data-blocks]", section).some((part) => !part.hidden);
  }
  for (const link of all("nav a")) {
    link.parentNode.hidden = document.querySelector(link.getAttribute("href")).hidden;
  }
}
Object.values(chosen).forEach((select) => select.addEventListener("change", filter));

// -- sort: falling, rising, as it was; undefined last; every group of rows by itself --------------

const NEXT = { none: "descending", descending: "ascending", ascending: "none" };
const NEXT_NAME = { none: "ascending", ascending: "descending", descending: "none" };

function sort(table, rows, head, column) {
  const order = (column < 0 ? NEXT_NAME : NEXT)[head.ariaSort || "none"];
  for (const other of all("[aria-sort]", table)) other.ariaSort = "none";
  head.ariaSort = order;
  const sign = order === "descending" ? -1 : 1;
  const value = (row) => (column < 0 ? rows[row].label : rows[row].cells[column].sort);
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (order === "none" || x === y) return a - b;
    if (x === null || y === null) return x === null ? 1 : -1;
    return sign * (column < 0 ? x.localeCompare(y, "en", { numeric: true }) : x - y) || a - b;
  };
  for (const body of table.tBodies) {
    body.append(...[...body.rows].sort((a, b) => compare(+a.dataset.row, +b.dataset.row)));
  }
}

// -- tables: headings sort, cells open; arrow keys move from cell to cell -------------------------

function focusCell(table, cell) {
  for (const other of all("td[tabindex='0']", table)) other.tabIndex = -1;
  cell.tabIndex = 0;
}

function moved(table, cell, key) {
  const rows = all("tbody tr", table);
  const row = cell.parentNode;
  const near = { ArrowUp: rows[rows.indexOf(row) - 1], ArrowDown: rows[rows.indexOf(row) + 1] }[key];
  if (near) return near.cells[cell.cellIndex];
  return { ArrowLeft: row.cells[cell.cellIndex - 1], ArrowRight: row.cells[cell.cellIndex + 1],
    Home: row.cells[1], End: row.cells[row.cells.length - 1] }[key];
}

for (const table of all("table[data-table]")) {
  const content = data.tables[table.dataset.table];
  all("thead th[aria-sort]", table).forEach((head, i) =>
    head.firstChild.addEventListener("click", () => sort(table, content.rows, head, i - 1)));
  const cells = all("tbody td", table);
  for (const cell of cells) cell.tabIndex = -1;
  if (cells.length) cells[0].tabIndex = 0;
  const open = (cell) => {
    focusCell(table, cell);
    show(content, content.rows[cell.parentNode.dataset.row], cell.cellIndex - 1);
  };
  table.addEventListener("click", (event) => {
    const cell = event.target.closest("tbody td");
    if (cell) open(cell);
  });
  table.addEventListener("keydown", (event) => {
    const cell = event.target.closest("tbody td");
    if (!cell) return;
    const other = moved(table, cell, event.key);
    if (event.key === "Enter" || event.key === " ") open(cell);
    else if (other && other.tagName === "TD") {
      focusCell(table, other);
      other.focus();
    } else if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
  });
}

// -- panel: everything behind one cell ------------------------------------------------------------

const show = (table, row, position) => {
  const cell = row.cells[position];
  const column = table.columns[position];
  const group = data.groups[cell.runs];
  const runs = group ? group.runs.map((index) => data.runs[index]) : [];
  const value = (number) => {
    if (number === undefined || number === null) return "-";
    return `${+(number / column.scale).toPrecision(8)}${column.unit ? " " + column.unit : ""}`;
  };
  const close = make("button", "Close");
  close.className = "close";
  close.addEventListener("click", () => panel.close());
  const title = make("h3", `${row.label}: ${column.name}`);
  title.id = "panel-title";
  const large = make("p", cell.text || "(blank)");
  large.className = "value";
  panel.replaceChildren(close, title, large, make("p", column.meaning), soft(table.title));
  if (cell.published) section("Published by others", pairs({
    value: value(cell.published.mean), "standard deviation": value(cell.published.std), ...cell.published.facts,
  }));
  const notes = [...row.notes.map((i) => table.notes[i - 1]), ...cell.notes, ...(group ? group.notes : [])];
  if (notes.length) section("Notes", make("ul", "", ...[...new Set(notes)].map((note) => make("li", note))));
  if (runs.length) {
    section("Runs", across(runs, [
      ["seed", (run) => run.seed], ["class order", (run) => run.order],
      ["value", (run, i) => value((cell.values || [])[i])], ["status", (run) => run.status],
      ["error", (run) => run.error], ["run", (run) => run.key],
    ]));
    section("Redo", ...runs.map((run) => copyable(`seed ${run.seed}, ${run.order} order`, run.command)));
    const shared = data.shared[group.shared];
    for (const [name, facts] of Object.entries(shared)) {
      if (Object.keys(facts).length) section(name, pairs(facts));
    }
    const made = runs.map((run) => ({ ...data.made[run.made], started: run.started, seconds: run.seconds }));
    const names = [...new Set(made.flatMap(Object.keys))];
    section("Environment", across(made, names.map((name) => [name, (one) => one[name]])));
  }
  panel.showModal();
  panel.scrollTop = 0;
};

function section(title, ...content) {
  panel.append(make("h4", title), ...content);
}

function soft(text) {
  const node = make("p", text);
  node.className = "soft";
  return node;
}

function said(value) {
  if (value === null || value === undefined || value === "") return "-";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function pairs(facts) {
  const rows = Object.entries(facts).map(([name, value]) => make("tr", "", headed(name), make("td", said(value))));
  return make("table", "", make("tbody", "", ...rows));
}

// One column per run; what all runs have alike is said once, what none has is left out.
function across(items, facts) {
  const rows = facts.map(([name, get]) => {
    const texts = items.map((item, i) => said(get(item, i)));
    const alike = texts.every((text) => text === texts[0]);
    if (alike && texts[0] === "-") return "";
    const cells = (alike ? texts.slice(0, 1) : texts).map((text) => make("td", text));
    if (alike) cells[0].colSpan = items.length;
    return make("tr", "", headed(name), ...cells);
  });
  return make("table", "", make("tbody", "", ...rows));
}

function headed(name) {
  const head = make("th", name);
  head.scope = "row";
  return head;
}

function copyable(label, command) {
  const code = make("code", command);
  code.tabIndex = 0;
  const button = make("button", "Copy");
  button.ariaLabel = `Copy the command for ${label}`;
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(code);
    let done = false;
    try {
      await navigator.clipboard.writeText(command);
      done = true;
    } catch { // not every browser allows it in a file
      done = document.execCommand("copy");
    }
    button.textContent = done ? "Copied" : "Press Ctrl+C";
  });
  const line = make("div", "", code, button);
  line.className = "command";
  return make("div", "", soft(label), line);
}

panel.addEventListener("click", (event) => {
  if (event.target === panel && event.clientX < panel.getBoundingClientRect().left) panel.close();
});

// -- figures: the nearest point's value; arrow keys move along a line and from line to line -------

for (const chart of all(".chart")) {
  const lines = all("[data-name]", chart).map((group) => ({
    group,
    points: all("title", group).map((title) => {
      const point = { node: title.parentNode, text: title.textContent };
      title.remove(); // else the browser shows it a second time
      return point;
    }),
  })).filter((line) => line.points.length);
  if (!lines.length) continue;
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  ring.classList.add("ring");
  ring.setAttribute("r", 4);
  let line = 0;
  let point = -1;

  const locate = (found) => {
    if (!("x" in found)) {
      const box = found.node.getBBox();
      Object.assign(found, { x: box.x + box.width / 2, y: box.y + box.height / 2 });
    }
    return found;
  };
  const showPoint = () => {
    const { group, points } = lines[line];
    const { x, y, text } = locate(points[point]);
    ring.setAttribute("cx", x);
    ring.setAttribute("cy", y);
    chart.append(ring);
    tip.replaceChildren(make("b", group.dataset.name), make("br"), text);
    tip.hidden = false;
    const place = new DOMPoint(x, y).matrixTransform(chart.getScreenCTM());
    const right = Math.min(place.x + 14, innerWidth - tip.offsetWidth - 6);
    tip.style.left = `${Math.max(6, right)}px`;
    const below = place.y + 14 + tip.offsetHeight < innerHeight;
    tip.style.top = `${below ? place.y + 14 : place.y - tip.offsetHeight - 14}px`;
  };
  const hide = () => {
    ring.remove();
    tip.hidden = true;
  };
  chart.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    let best = 12 ** 2;
    const before = [line, point];
    lines.forEach(({ group, points }, i) => {
      if (group.classList.contains("dim")) return;
      points.map(locate).forEach(({ x, y }, j) => {
        const distance = (x - at.x) ** 2 + (y - at.y) ** 2;
        if (distance < best) [best, line, point] = [distance, i, j];
      });
    });
    if (best === 12 ** 2) hide();
    else if (tip.hidden || before[0] !== line || before[1] !== point) showPoint();
  });
  chart.addEventListener("pointerleave", hide);
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === "Escape") hide();
    if (!step) return;
    event.preventDefault();
    line = (line + step[0] + lines.length) % lines.length;
    point = Math.min(Math.max(point + step[1], 0), lines[line].points.length - 1);
    showPoint();
  });
}
addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

// A name in the legend brings its line out in every figure of the block.
for (const button of all(".legend button")) {
  const section = button.closest("section");
  const others = all("[data-series]", section);
  const bring = (index) => {
    for (const group of others) group.classList.toggle("dim", index !== "" && group.dataset.series !== index);
  };
  const pressed = () => section.querySelector(".legend [aria-pressed=true]")?.dataset.of ?? "";
  button.addEventListener("click", () => {
    const on = button.ariaPressed !== "true";
    for (const other of all(".legend button", section)) other.ariaPressed = "false";
    button.ariaPressed = String(on);
    bring(pressed());
  });
  button.addEventListener("pointerenter", () => bring(button.dataset.of));
  button.addEventListener("pointerleave", () => bring(pressed()));
}
