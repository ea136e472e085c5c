(() => {
  "use strict";
  const root = document.documentElement;
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // times in the viewer's zone -------------------------------------------------------------------------------------
  const FORMS = {
    day: { day: "numeric", month: "short", year: "numeric" },
    minute: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
    time: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  };
  // The day goes without saying where it is today; the hint has all of it.
  function form(moment, name) {
    if (name !== "time" || moment.toDateString() !== new Date().toDateString()) return FORMS[name] || FORMS.time;
    return { hour: "2-digit", minute: "2-digit", second: "2-digit" };
  }
  function times(within) {
    for (const each of within.querySelectorAll("time[datetime]:not([data-shown])")) {
      const moment = new Date(each.dateTime);
      if (Number.isNaN(moment.valueOf())) continue;
      each.textContent = moment.toLocaleString(undefined, form(moment, each.dataset.form));
      each.title = moment.toISOString();
      each.dataset.shown = "1";
    }
  }

  // charts ---------------------------------------------------------------------------------------------------------
  const figure = {
    money: (v) => (v < 0 ? "−$" : "$") + (Math.abs(v) >= 100 ? Math.round(Math.abs(v)).toLocaleString() : v && Math.abs(v) < 0.1 ? +Math.abs(v).toPrecision(2) : Math.abs(v).toFixed(2)),
    tokens: (v) => new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 }).format(v),
    count: (v) => (+v).toLocaleString(undefined, { maximumFractionDigits: 1 }),
    share: (v) => Math.round(100 * v) + "%",
    ms: (v) => (v < 1000 ? Math.round(v) + " ms" : (v / 1000).toFixed(2) + " s"),
    exact: (v) => (+v).toLocaleString(undefined, { maximumSignificantDigits: 3 }),
    rate: (v) => (100 * v).toLocaleString(undefined, { maximumFractionDigits: 2 }) + "%",
    change: (v) => (v > 0 ? "+" : v < 0 ? "−" : "") + Math.abs(100 * v).toLocaleString(undefined, { maximumFractionDigits: 1 }) + "%",
    hours: (v) => (+v).toLocaleString(undefined, { maximumFractionDigits: 1 }) + " h",
  };
  const day = (text) => new Date(text + "T12:00:00Z").toLocaleDateString(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
  const drawn = [];
  function draw(node) {
    const option = JSON.parse(node.dataset.chart);
    const say = figure[option.unit] || figure.count;
    const ink = style("--ink-2"), line = style("--line");
    const axis = { axisLine: { lineStyle: { color: line } }, axisTick: { show: false }, axisLabel: { color: ink, hideOverlap: true }, splitLine: { lineStyle: { color: line } }, nameTextStyle: { color: ink } };
    const dress = (one, own) => Object.assign({}, axis, own, one, { axisLabel: Object.assign({}, axis.axisLabel, own.axisLabel, one.axisLabel) });
    const many = (found, make) => (Array.isArray(found) ? found.map(make) : found && make(found));
    const along = (one) => (one.days ? { axisLabel: { formatter: day } } : one.type === "time" ? { axisLabel: { alignMinLabel: "left", alignMaxLabel: "right" } } : {});
    option.xAxis = many(option.xAxis, (one) => dress(one, one.type === "value" ? { axisLabel: { formatter: say } } : Object.assign({ splitLine: { show: false } }, along(one))));
    option.yAxis = many(option.yAxis, (one) => dress(one, one.type === "value" ? { axisLabel: { formatter: say } } : { splitLine: { show: false } }));
    const names = (option.series || []).filter((one) => one.name && !one.silent);
    const palette = style("--series").split(",").map((each) => each.trim());
    for (const one of option.series || []) if (one.tone !== undefined) one.color = palette[one.tone];
    const full = Object.assign({
      color: palette,
      animation: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      animationDuration: 250,
      grid: { left: 8, right: 22, top: names.length > 1 ? 36 : 12, bottom: 8, containLabel: true },
      legend: names.length > 1 ? { top: 0, left: 0, itemWidth: 10, itemHeight: 10, icon: "roundRect", textStyle: { color: ink }, type: "scroll", data: names.map((one) => one.name) } : undefined,
      tooltip: { trigger: "axis", renderMode: "richText", valueFormatter: (v) => (v == null ? "–" : say(v)), backgroundColor: style("--raised"), borderColor: line, textStyle: { color: style("--ink") }, axisPointer: { type: "shadow", shadowStyle: { color: style("--hover") } } },
      textStyle: { fontFamily: style("--font") },
      aria: { enabled: true },
    }, option);
    for (const one of full.series || []) if (one.type === "bar") one.barMaxWidth = one.barMaxWidth || 28;
    const chart = echarts.init(node, null, { renderer: "svg" });
    chart.setOption(full);
    return chart;
  }
  function charts(within) {
    if (typeof echarts === "undefined") return;
    forget();
    for (const node of within.querySelectorAll("[data-chart]:not([data-drawn])")) {
      node.dataset.drawn = "1";
      drawn.push([node, draw(node)]);
    }
  }
  function forget() {
    for (let at = drawn.length - 1; at >= 0; at--) if (!drawn[at][0].isConnected) drawn.splice(at, 1)[0][1].dispose();
  }
  function redraw() {
    forget();
    for (const pair of drawn) { pair[1].dispose(); pair[1] = draw(pair[0]); }
  }
  addEventListener("resize", () => { for (const [, chart] of drawn) chart.resize(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // menu and colours -----------------------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const menu = event.target.closest("[data-menu]");
    if (menu) {
      const open = document.body.classList.toggle("menu-open");
      menu.setAttribute("aria-expanded", String(open));
    }
    if (event.target.closest("[data-shortcuts-button]")) document.querySelector("[data-shortcuts]").showModal();
    if (event.target.closest("[data-theme-button]")) {
      root.dataset.theme = dark() ? "light" : "dark";
      localStorage.setItem("upshift-theme", root.dataset.theme);
      redraw();
    }
  });
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea, select") || event.metaKey || event.ctrlKey || event.altKey) return;
    if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (search) { event.preventDefault(); search.focus(); }
    }
    if (event.key === "?") { event.preventDefault(); document.querySelector("[data-shortcuts]")?.showModal(); }
    if (going && event.key.length === 1) {
      const found = document.querySelector('nav.menu a[data-key="' + CSS.escape(event.key) + '"]');
      if (found) { event.preventDefault(); found.click(); }
    }
    going = event.key === "g" && !going;
    if (event.key === "Escape" && document.body.classList.contains("menu-open")) document.querySelector("[data-menu]").click();
  });

  // sliders say what they stand at --------------------------------------------------------------------------------
  document.addEventListener("input", (event) => {
    const says = event.target.matches("input[type=range]") && event.target.parentElement.querySelector("output");
    if (says) says.textContent = "× " + (+event.target.value).toFixed(2);
  });

  // live calls -----------------------------------------------------------------------------------------------------
  const live = document.querySelector("[data-live]");
  if (live) {
    const says = live.querySelector("[data-live-says]"), button = live.querySelector("[data-live-button]");
    const MOST = 100, KEPT = 4;
    let source = null, waiting = [], last = live.dataset.since;
    function said(found) {
      if (found.trouble) return "the ledger cannot be read at the moment; what closes meanwhile comes later";
      const calls = (found.more ? "more than " : "") + found.calls.toLocaleString() + (found.calls === 1 ? " call" : " calls");
      const parts = [calls + (found.late ? " since this page was loaded or connected last" : " in the last second")];
      if (found.refused) parts.push(found.refused.toLocaleString() + " refused");
      if (found.shown < found.calls) parts.push("the latest " + found.shown + " are shown");
      if (found.missed) parts.push(found.missed + (found.missed === 1 ? " second" : " seconds") + " missed before it: this page was too slow");
      return parts.join(", ");
    }
    // Rows that somebody points at or tabs through do not move away; a few seconds of calls wait for that.
    function insert(rows) {
      if (rows.matches(":hover") || rows.contains(document.activeElement)) return;
      const made = document.createElement("tbody");
      made.innerHTML = waiting.reverse().join("");
      // Rows alone: the text between them would stay when rows at the end go.
      rows.prepend(...made.rows);
      waiting = [];
      const shut = rows.closest("[hidden]");
      if (shut) { shut.hidden = false; document.querySelector("main .empty")?.remove(); }
      while (rows.rows.length > MOST) rows.deleteRow(-1);
      times(rows);
    }
    function start() {
      // From where the page or the stream before it ended: nothing closes unseen between them.
      source = new EventSource(live.dataset.live + "?since=" + last);
      source.onmessage = (event) => {
        const found = JSON.parse(event.data), rows = document.getElementById("rows");
        last = event.lastEventId || last;
        if (found.rows) waiting = [...waiting, found.rows].slice(-KEPT);
        if (rows && waiting.length) insert(rows);
        says.textContent = said(found) + (rows && waiting.length ? "; the list waits while you are in it" : "");
      };
      source.addEventListener("over", () => { source.close(); says.textContent = "your session is over; load the page again to sign in"; });
      source.onerror = () => { says.textContent = "not connected; trying again"; };
    }
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      if (on) start(); else { source.close(); waiting = []; says.textContent = "paused"; }
    });
    start();
  }

  function ready(within) { times(within); charts(within); }
  ready(document);
  document.body.addEventListener("htmx:afterSettle", (event) => ready(event.target));
})();
