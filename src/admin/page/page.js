"use strict";
(() => {
  // What others have named is only ever set as text: nothing here makes markup of a string.
  const SVG = "http://www.w3.org/2000/svg";
  const SECONDS = 900;
  const RETRY_MS = 5000;
  const SILENCE_MS = 5000;

  const find = (id) => document.getElementById(id);
  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const draw = (tag, attributes) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const say = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  const number = (value) => whole.format(value).replaceAll(",", "\u202f");
  const rate = (value) => (value > 0 && value < 100 ? tenths.format(value) : number(value));
  const count = (value, one, many) => `${number(value)} ${value === 1 ? one : many}`;
  const percent = (part, all) => {
    if (all === 0) return "–";
    const share = (100 * part) / all;
    // What is not all of it is not said to be.
    if (share > 99.9 && part < all) return "99.9%";
    if (share < 0.1 && part > 0) return "0.1%";
    return `${tenths.format(share)}%`;
  };
  const words = (name) => name.replaceAll("_", " ");
  const bytes = (value) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    while (value >= 1024 && unit + 1 < units.length) {
      value /= 1024;
      unit += 1;
    }
    return `${tenths.format(value)} ${units[unit]}`;
  };
  const span = (seconds) => {
    if (seconds < 120) return `${seconds} s`;
    if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
    return `${Math.floor(seconds / 86400)} d`;
  };
  const lasted = (ms) => {
    if (ms === null) return "–";
    return ms < 1000 ? `${number(ms)} ms` : `${tenths.format(ms / 1000)} s`;
  };
  const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

  // ===== The numbers =====

  let view = null;
  let points = [];
  let isFresh = true;

  const take = (text) => {
    view = JSON.parse(text);
    if (isFresh) points = [];
    isFresh = false;
    const last = points.length > 0 ? points[points.length - 1][0] : -1;
    points.push(...view.points.filter((point) => point[0] > last));
    points.splice(0, points.length - SECONDS);
  };

  const second = (point) => point[0];
  const calls = (point) => point[1];
  const interrupted = (point) => point[2];
  const input = (point) => point[3];
  const output = (point) => point[4];
  const streams = (point) => point[5];
  const undelivered = (point) => point[6];

  const sum = (list, of) => list.reduce((total, point) => total + of(point), 0);
  const most = (list, of) => list.reduce((max, point) => Math.max(max, of(point)), 0);

  const aSecond = (total) => (view.recent_s === 0 ? 0 : total / view.recent_s);

  // ===== Now =====

  const drawNow = () => {
    const { recent, totals, health } = view;
    say(find("rate-tokens"), rate(aSecond(recent.input + recent.output)));
    say(find("rate-parts"), `${rate(aSecond(recent.input))} in, ${rate(aSecond(recent.output))} out`);
    say(find("rate-calls"), rate(aSecond(recent.calls)));
    say(find("calls-total"), `${number(totals.calls)} since the start`);
    say(find("rate-note"), `Means of the last ${view.recent_s} s. A call counts in the second in which it ends.`);
    say(find("streams"), number(health.streams));
    say(find("open-calls"), count(health.ledger.open, "call open", "calls open"));
    say(find("undelivered"), number(health.ledger.undelivered));
    const waits = health.ledger.undelivered > 0;
    say(find("oldest"), waits ? `the oldest for ${span(health.ledger.oldest_undelivered_s)}` : "all are delivered");
    if (health.kafka === null) say(find("oldest"), "nothing is published");
    find("undelivered-tile").className = waits && health.kafka?.backing_off ? "wrong" : "";
    say(find("source"), `${health.source}, up for ${span(view.up_s)}`);
    say(find("footer"), `tokenweir ${health.version}. Served by the sidecar itself; nothing on this page comes from elsewhere.`);
  };

  // ===== The last 15 minutes =====

  const WIDTH = 180;
  const HEIGHT = 100;
  // A sidecar that has just begun is not drawn at the edge of 15 minutes that it has not seen.
  const SPANS = [
    { span_s: 60, column_s: 1, name: "1 min" },
    { span_s: 300, column_s: 2, name: "5 min" },
    { span_s: SECONDS, column_s: 5, name: "15 min" },
  ];
  const spanNow = () => SPANS.find(({ span_s }) => view.up_s <= span_s) ?? SPANS[SPANS.length - 1];
  const PLOTS = [
    { title: "Tokens a second", lines: [["output", output], ["input", input]], of: "mean" },
    { title: "Calls a second", lines: [["ended", calls], ["cut short", interrupted]], of: "mean" },
    { title: "Streams in flight", lines: [["streams", streams]], of: "most" },
    { title: "Events to deliver", lines: [["events", undelivered]], of: "most" },
  ];

  const makePlot = (plot) => {
    const figure = make("figure");
    const caption = make("figcaption", plot.title);
    const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    for (const y of [0, HEIGHT / 2]) svg.append(draw("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y }));
    plot.area = draw("path", { class: "area" });
    plot.paths = plot.lines.map((_, at) => draw("path", { class: `line ${"ab"[at]}` }));
    svg.append(plot.area, ...[...plot.paths].reverse());
    if (plot.lines.length > 1) {
      for (const [at, [name]] of plot.lines.entries()) {
        const key = make("span", undefined, "key");
        key.append(make("span", undefined, `swatch ${"ab"[at]}`), name);
        caption.append(key);
      }
    }
    const axis = make("div", undefined, "axis");
    axis.setAttribute("aria-hidden", "true");
    plot.most = make("span");
    plot.from = make("span");
    axis.append(plot.from, plot.most, make("span", "now"));
    plot.svg = svg;
    figure.append(caption, svg, axis);
    find("plots").append(figure);
  };

  // The plot's columns, of so many seconds each; those before the start are nothing. They begin at whole multiples,
  // so that what has been drawn keeps its shape.
  const columnsOf = (of, how, { span_s, column_s }) => {
    const width = span_s / column_s;
    const columns = new Array(width).fill(null);
    const counted = new Array(width).fill(0);
    const newest = Math.floor((view.up_s - 1) / column_s);
    for (const point of points) {
      const column = width - 1 - newest + Math.floor(second(point) / column_s);
      if (column < 0 || column >= width) continue;
      counted[column] += 1;
      columns[column] = how === "mean" ? (columns[column] ?? 0) + of(point) : Math.max(columns[column] ?? 0, of(point));
    }
    return how === "mean" ? columns.map((value, at) => (value === null ? null : value / counted[at])) : columns;
  };

  const drawPlots = () => {
    const span = spanNow();
    const width = span.span_s / span.column_s;
    const x = (column) => (((column + 0.5) * WIDTH) / width).toFixed(1);
    for (const plot of PLOTS) {
      const series = plot.lines.map(([, of]) => columnsOf(of, plot.of, span));
      const top = Math.max(...series.flat().map((value) => value ?? 0));
      const y = (value) => (HEIGHT - (top > 0 ? (value / top) * (HEIGHT - 4) : 0)).toFixed(1);
      series.forEach((columns, at) => {
        const first = columns.findIndex((value) => value !== null);
        const drawn = columns.slice(Math.max(first, 0)).filter((value) => value !== null);
        const steps = drawn.map((value, step) => `${x(first + step)} ${y(value)}`).join("L");
        plot.paths[at].setAttribute("d", steps === "" ? "" : `M${steps}`);
        if (at > 0) return;
        plot.area.setAttribute("d", steps === "" ? "" : `M${x(first)} ${HEIGHT}L${steps}L${x(width - 1)} ${HEIGHT}Z`);
      });
      say(plot.from, `${span.name} ago`);
      say(plot.most, `most: ${rate(top)}`);
      const now = series.map((columns, at) => `${plot.lines[at][0]} ${rate(columns[width - 1] ?? 0)} now`);
      plot.svg.setAttribute("aria-label", `${plot.title}, the last ${span.name}: ${now.join(", ")}; at most ${rate(top)}. The table below has each minute.`);
    }
  };

  const drawMinutes = () => {
    const body = find("minutes");
    if (!body.closest("details").open) return;
    const minutes = new Map();
    for (const point of points) {
      const ms = view.now_ms - (view.up_s - second(point)) * 1000;
      const minute = Math.floor(ms / 60000);
      if (!minutes.has(minute)) minutes.set(minute, []);
      minutes.get(minute).push(point);
    }
    const rows = [...minutes].reverse().map(([minute, list]) => {
      const row = make("tr");
      const head = make("th", clock(minute * 60000).slice(0, 5));
      head.scope = "row";
      const numbers = [sum(list, input), sum(list, output), sum(list, calls), sum(list, interrupted), most(list, streams), most(list, undelivered)];
      row.append(head, ...numbers.map((value) => make("td", number(value), "number")));
      return row;
    });
    body.replaceChildren(...rows);
  };

  // ===== Quality and health =====

  const fillShare = (svg, qualities) => {
    const all = qualities.reduce((total, value) => total + value, 0);
    let from = 0;
    qualities.forEach((value, at) => {
      const width = all === 0 ? 0 : (1000 * value) / all;
      const bar = svg.children[at] ?? svg.appendChild(draw("rect", { class: `q${at}`, y: 0, height: 10 }));
      bar.setAttribute("x", from.toFixed(1));
      bar.setAttribute("width", width.toFixed(1));
      from += width;
    });
    return all;
  };

  const drawQuality = () => {
    const { qualities } = view.totals;
    const all = fillShare(find("quality-bar"), qualities);
    const parts = view.quality_names.map((name, at) => `${words(name)} ${percent(qualities[at], all)}`);
    find("quality-bar").setAttribute("aria-label", all === 0 ? "no calls yet" : parts.join(", "));
    const legend = find("quality-legend");
    view.quality_names.forEach((name, at) => {
      let item = legend.children[at];
      if (!item) {
        item = legend.appendChild(make("li"));
        item.append(make("span", undefined, `box q${at}`), make("span"));
        item.dataset.name = name;
      }
      say(item.lastChild, `${words(name)} ${percent(qualities[at], all)} (${number(qualities[at])})`);
    });
  };

  const fillFacts = (list, facts) => {
    facts.forEach(([name, value], at) => {
      let pair = list.children[at];
      if (!pair) {
        pair = list.appendChild(make("div"));
        pair.append(make("dt"), make("dd"));
      }
      say(pair.firstChild, name);
      say(pair.lastChild, value);
    });
    while (list.children.length > facts.length) list.lastChild.remove();
  };

  const setState = (element, state, text) => {
    element.dataset.state = state;
    say(element, text);
  };

  const drawHealth = () => {
    const { ledger, kafka } = view.health;
    const summed = "calls are only summed: nothing can be stored, or no place is free";
    setState(find("ledger-state"), ledger.degraded ? "wrong" : "good", ledger.degraded ? `degraded: ${summed}` : "every call is stored");
    fillFacts(find("ledger-facts"), [
      ["events stored", number(ledger.stored)],
      ["events delivered", number(ledger.delivered)],
      ["events to deliver", number(ledger.undelivered)],
      ["the oldest waits for", ledger.undelivered > 0 ? span(ledger.oldest_undelivered_s) : "–"],
      ["refused by the broker", number(ledger.refused)],
      ["calls only in a sum", number(ledger.summed)],
      ["room taken", `${bytes(ledger.bytes)} of ${bytes(ledger.bytes_max)} (${percent(ledger.bytes, ledger.bytes_max)})`],
    ]);
    const state = find("kafka-state");
    if (kafka === null) {
      setState(state, "off", "nothing is published: events stay in the ledger");
      return fillFacts(find("kafka-facts"), []);
    }
    if (kafka.backing_off) setState(state, "wrong", "nothing has got through since the last error");
    else if (kafka.brokers === 0) setState(state, "off", "no broker has answered yet");
    else if (kafka.brokers_up === 0) setState(state, "wrong", "no broker can be reached");
    else setState(state, "good", "events are on their way");
    fillFacts(find("kafka-facts"), [
      ["topic", kafka.topic],
      ["brokers that are up", `${number(kafka.brokers_up)} of ${number(kafka.brokers)}`],
      ["events under way", number(kafka.in_flight)],
      ["errors since the start", number(kafka.errors)],
    ]);
  };

  const drawOutcomes = () => {
    const { outcomes, outcome_names: names, totals } = view;
    const shown = names.map((name, at) => [words(name), outcomes[at]]).filter(([, value]) => value > 0);
    const [whole] = outcomes;
    setState(find("outcomes-state"), totals.calls === 0 ? "off" : "plain", totals.calls === 0 ? "no calls yet" : `${percent(whole, totals.calls)} ${words(names[0])}`);
    fillFacts(find("outcomes"), shown.map(([name, value]) => [name, number(value)]));
  };

  // ===== Callers =====

  const tokens = (row) => row.input + row.output;
  const exact = (row) => (row.calls === 0 ? 0 : row.qualities[0] / row.calls);
  const COLUMNS = [
    { title: "Caller", of: (row) => row.caller, isName: true },
    { title: "Calls", of: (row) => row.calls, show: number },
    { title: "Input", of: (row) => row.input, show: number },
    { title: "Output", of: (row) => row.output, show: number },
    { title: "Tokens", of: tokens, show: number },
    { title: "Tokens/s", of: (row) => aSecond(row.recent_tokens ?? 0), show: rate },
    { title: "Known", of: exact },
  ];
  let sorted = { column: COLUMNS[4], isDescending: true };

  const makeCallersHead = () => {
    for (const column of COLUMNS) {
      const head = make("th", undefined, column.show ? "number" : "");
      head.scope = "col";
      const button = make("button", column.title);
      button.type = "button";
      button.addEventListener("click", () => {
        const isDescending = sorted.column === column ? !sorted.isDescending : !column.isName;
        sorted = { column, isDescending };
        drawCallers();
      });
      head.append(button);
      column.head = head;
      find("callers-head").append(head);
    }
  };

  const makeRow = (title) => {
    const row = make("tr");
    const head = make("th");
    head.scope = "row";
    const name = make("bdi", title);
    const department = make("span", undefined, "department");
    head.append(name, department);
    const numbers = COLUMNS.filter((column) => column.show).map(() => make("td", undefined, "number"));
    const known = make("td", undefined, "known");
    const bar = draw("svg", { class: "mini", viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    const text = make("span");
    known.append(bar, text);
    row.append(head, ...numbers, known);
    return { row, name, department, numbers, bar, text };
  };

  const fillRow = (cells, row) => {
    say(cells.department, row.department ?? "");
    COLUMNS.filter((column) => column.show).forEach((column, at) => say(cells.numbers[at], column.show(column.of(row))));
    fillShare(cells.bar, row.qualities);
    say(cells.text, `${percent(row.qualities[0], row.calls)} ${words(view.quality_names[0])}`);
  };

  const rows = new Map();
  const feet = { other: makeRow("other callers"), total: makeRow("total") };

  const drawCallers = () => {
    const { column, isDescending } = sorted;
    for (const { head } of COLUMNS) head.removeAttribute("aria-sort");
    column.head.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
    if (view === null) return;
    const wanted = find("filter").value.toLowerCase();
    const fits = (row) => row.caller.toLowerCase().includes(wanted) || (row.department ?? "").toLowerCase().includes(wanted);
    const order = (one, other) => {
      const [a, b] = isDescending ? [column.of(other), column.of(one)] : [column.of(one), column.of(other)];
      return (a < b ? -1 : a > b ? 1 : 0) || (one.caller < other.caller ? -1 : 1);
    };
    const shown = view.callers.filter(fits).sort(order);
    const body = find("callers-body");
    const seen = new Set();
    shown.forEach((row, at) => {
      seen.add(row.caller);
      let cells = rows.get(row.caller);
      if (!cells) {
        cells = makeRow(row.caller);
        rows.set(row.caller, cells);
      }
      fillRow(cells, row);
      if (body.children[at] !== cells.row) body.insertBefore(cells.row, body.children[at] ?? null);
    });
    for (const [caller, cells] of rows) {
      if (seen.has(caller)) continue;
      cells.row.remove();
      rows.delete(caller);
    }
    const all = view.callers.length;
    say(find("callers-count"), wanted === "" ? count(all, "caller", "callers") : `${number(shown.length)} of ${count(all, "caller", "callers")}`);
    const foot = find("callers-foot");
    feet.other.row.hidden = view.other === null;
    if (view.other !== null) fillRow(feet.other, view.other);
    fillRow(feet.total, { ...view.totals, recent_tokens: view.recent.input + view.recent.output });
    if (foot.children.length === 0) foot.append(feet.other.row, feet.total.row);
  };

  // ===== Interrupted calls =====

  const drawInterrupted = () => {
    find("interrupted-none").hidden = view.interrupted.length > 0;
    const body = find("interrupted-body");
    const ids = view.interrupted.map((call) => call.id).join();
    if (body.dataset.ids === ids) return;
    body.dataset.ids = ids;
    const tokensOf = (value, quality) => {
      if (value === null) return "–";
      return quality === view.quality_names[0] ? number(value) : `${number(value)}, ${words(quality)}`;
    };
    const lines = view.interrupted.map((call) => {
      const line = make("tr");
      const name = make("th");
      name.scope = "row";
      name.append(make("bdi", call.caller));
      const deployment = make("td", undefined, "name");
      deployment.append(make("bdi", call.deployment ?? call.model ?? call.api));
      const cells = [
        make("td", clock(Date.parse(call.time)), "plain"),
        name,
        deployment,
        make("td", words(call.outcome), "plain"),
        make("td", call.status === 0 ? "–" : String(call.status), "number"),
        make("td", tokensOf(call.input, call.input_quality), "number"),
        make("td", tokensOf(call.output, call.output_quality), "number"),
        make("td", lasted(call.duration_ms), "number"),
      ];
      line.append(...cells);
      return line;
    });
    body.replaceChildren(...lines);
  };

  const drawAll = () => {
    if (view === null) return;
    drawNow();
    drawPlots();
    drawMinutes();
    drawQuality();
    drawHealth();
    drawOutcomes();
    drawCallers();
    drawInterrupted();
    document.body.dataset.second = view.up_s;
  };

  // ===== The connection =====

  let isPaused = false;
  let heard = 0;
  const setConnection = (state, text) => {
    find("connection").dataset.state = state;
    say(find("connection"), text);
  };

  const connect = () => {
    const events = new EventSource("events");
    events.addEventListener("open", () => {
      isFresh = true;
    });
    events.addEventListener("view", (event) => {
      heard = Date.now();
      take(event.data);
      if (isPaused) return;
      drawAll();
      setConnection("live", "Live");
    });
    events.addEventListener("error", () => {
      setConnection("lost", "No connection; trying again");
      // The browser tries again by itself, unless it was refused.
      if (events.readyState !== EventSource.CLOSED) return;
      events.close();
      setTimeout(connect, RETRY_MS);
    });
  };

  setInterval(() => {
    const isLive = find("connection").dataset.state === "live";
    if (isLive && !isPaused && Date.now() - heard > SILENCE_MS) setConnection("lost", "Nothing heard for some seconds");
  }, 1000);

  find("pause").addEventListener("click", () => {
    isPaused = !isPaused;
    find("pause").setAttribute("aria-pressed", String(isPaused));
    if (isPaused) setConnection("wait", `Paused at ${clock(Date.now())}`);
    else {
      setConnection("live", "Live");
      drawAll();
    }
  });
  find("filter").addEventListener("input", drawCallers);
  document.querySelector("details").addEventListener("toggle", () => view !== null && drawMinutes());

  PLOTS.forEach(makePlot);
  makeCallersHead();
  drawCallers();
  connect();
})();
