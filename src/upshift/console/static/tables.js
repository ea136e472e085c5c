// Small tables that come with a page whole: sorted, searched, linked to and taken away in the browser, as large ones are
// by their URL at the server. What is asked of one stands behind its name: #cost-by-workload:sort=-1&q=chat
(() => {
  "use strict";
  const FEW = 3, MANY = 8;
  const UNITS = { k: 1e3, m: 1e6, b: 1e9, t: 1e12 };
  const slug = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");

  // What a cell says as a number where it is one: $1.34k, 120k, 36.0 h, −3%, 840 ms.
  function figure(text) {
    const found = /^([−+-]?)\$?([\d,]*\.?\d+)\s?([kKMBT]?)(%|\b|$)/.exec(text);
    if (!found) return null;
    const size = parseFloat(found[2].replaceAll(",", "")) * (UNITS[found[3].toLowerCase()] || 1);
    return "−-".includes(found[1] || "+") ? -size : size;
  }
  function value(cell) {
    const time = cell.querySelector("time[datetime]");
    if (time) return time.dateTime;
    const text = cell.textContent.trim();
    return figure(text) ?? text.toLowerCase();
  }
  function compared(one, other) {
    if (typeof one === "number" && typeof other === "number") return one - other;
    if (typeof one === "number") return -1;
    if (typeof other === "number") return 1;
    return one < other ? -1 : one > other ? 1 : 0;
  }
  // A spreadsheet takes these for formulas.
  const harmless = (text) => (/^[=+@\t\r]|^-(?![\d.])/.test(text) ? "'" + text : text);
  const quoted = (text) => '"' + harmless(text.trim().replace(/\s+/g, " ")).replaceAll('"', '""') + '"';

  class Sheet {
    constructor(frame, table) {
      this.body = table.tBodies[0];
      this.heads = [...table.tHead.rows[0].cells];
      this.rows = [...this.body.rows].filter((row) => !row.classList.contains("sum"));
      this.sums = [...this.body.rows].filter((row) => row.classList.contains("sum"));
      this.title = frame.getAttribute("aria-label") || "table";
      this.name = slug(this.title);
      this.asked = new URLSearchParams();
      this.dress(frame);
      this.read();
    }
    dress(frame) {
      this.heads.forEach((head, at) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "sort";
        button.append(...head.childNodes);
        button.addEventListener("click", () => this.ask("sort", this.next(at)));
        head.append(button);
      });
      const tools = document.createElement("div");
      tools.className = "table-tools small";
      if (this.rows.length > MANY) {
        this.search = Object.assign(document.createElement("input"), { type: "search", placeholder: "Find…", ariaLabel: "Find in " + this.title });
        this.search.addEventListener("input", () => this.ask("q", this.search.value));
        tools.append(this.search);
      }
      const file = Object.assign(document.createElement("button"), { type: "button", className: "plain quiet", textContent: "CSV", ariaLabel: this.title + " as CSV" });
      file.addEventListener("click", () => this.take());
      tools.append(Object.assign(document.createElement("span"), { className: "spring" }), file);
      frame.before(tools);
    }
    next(at) {
      const now = this.asked.get("sort");
      if (now === String(-at - 1)) return String(at + 1);
      return now === String(at + 1) || this.heads[at].classList.contains("number") ? String(-at - 1) : String(at + 1);
    }
    ask(name, said) {
      if (said) this.asked.set(name, said); else this.asked.delete(name);
      const all = this.asked.toString();
      history.replaceState(history.state, "", location.pathname + location.search + (all ? "#" + this.name + ":" + all : ""));
      this.show();
    }
    read() {
      const [name, asked] = location.hash.slice(1).split(":");
      if (name === this.name && asked) this.asked = new URLSearchParams(asked);
      if (this.search) this.search.value = this.asked.get("q") || "";
      this.show();
    }
    show() {
      const sort = parseInt(this.asked.get("sort") || "0", 10), at = Math.abs(sort) - 1;
      const words = (this.asked.get("q") || "").toLowerCase().split(/\s+/).filter(Boolean);
      const rows = at < 0 || at >= this.heads.length ? this.rows : [...this.rows].sort((one, other) => Math.sign(sort) * compared(value(one.cells[at]), value(other.cells[at])));
      this.heads.forEach((head, here) => head.setAttribute("aria-sort", here !== at ? "none" : sort > 0 ? "ascending" : "descending"));
      for (const row of rows) row.hidden = !words.every((each) => row.textContent.toLowerCase().includes(each));
      this.body.append(...rows, ...this.sums);
    }
    take() {
      const shown = [...this.body.rows].filter((row) => !row.hidden);
      const lines = [this.heads, ...shown.map((row) => [...row.cells])].map((cells) => cells.map((cell) => quoted(cell.textContent)).join(","));
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
      link.download = this.name + ".csv";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }
  }

  function dress(within) {
    for (const frame of within.querySelectorAll(".scroller.plain:not([data-sheet])")) {
      const table = frame.querySelector("table");
      const simple = table && table.tHead && table.tHead.rows.length === 1 && !table.querySelector("input, [colspan], [rowspan]");
      if (!simple || table.tBodies[0].rows.length < FEW) continue;
      frame.dataset.sheet = "1";
      new Sheet(frame, table);
    }
  }
  dress(document);
  document.body.addEventListener("htmx:afterSettle", (event) => dress(event.target.parentElement || event.target));
})();
