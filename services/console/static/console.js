// Times in the reader's zone, countdowns, "choose all". The page works without it.
"use strict";
(() => {
  const pad = (number) => String(number).padStart(2, "0");

  const local = (time) => {
    const day = `${time.getFullYear()}-${pad(time.getMonth() + 1)}-${pad(time.getDate())}`;
    const clock = `${pad(time.getHours())}:${pad(time.getMinutes())}:${pad(time.getSeconds())}`;
    return new Date().toDateString() === time.toDateString() ? clock : `${day} ${clock}`;
  };

  const left = (seconds) => {
    if (seconds < 1) return "now";
    const days = Math.floor(seconds / 86400);
    const hours = Math.floor((seconds % 86400) / 3600);
    const minutes = Math.floor((seconds % 3600) / 60);
    if (days) return `in ${days}d${hours ? `${hours}h` : ""}`;
    if (hours) return `in ${hours}h${minutes ? `${minutes}m` : ""}`;
    const rest = Math.floor(seconds % 60);
    return minutes ? `in ${minutes}m${pad(rest)}s` : `in ${rest}s`;
  };

  const tick = () => {
    for (const each of document.querySelectorAll("time[data-until]")) {
      const due = new Date(each.dateTime);
      each.textContent = left((due - Date.now()) / 1000);
      each.title = local(due);
    }
  };

  const localise = (root) => {
    for (const each of root.querySelectorAll("time[data-local]")) {
      each.title = each.title || each.textContent.trim();
      each.textContent = local(new Date(each.dateTime));
    }
    tick();
  };

  const count = (form) => {
    const ticks = [...form.querySelectorAll("tbody input[type=checkbox]")];
    const chosen = ticks.filter((one) => one.checked).length;
    const all = form.querySelector("[data-all]");
    const words = form.querySelector("[data-chosen]");
    if (all) {
      all.checked = chosen > 0 && chosen === ticks.length;
      all.indeterminate = chosen > 0 && chosen < ticks.length;
    }
    if (words) words.textContent = chosen ? `${chosen} chosen` : "";
  };

  document.addEventListener("change", ({ target }) => {
    if (target.type !== "checkbox" || !target.form) return;
    if ("all" in target.dataset) {
      for (const one of target.form.querySelectorAll("tbody input[type=checkbox]")) one.checked = target.checked;
    }
    count(target.form);
  });
  document.addEventListener("htmx:load", ({ detail }) => localise(detail.elt));
  document.addEventListener("DOMContentLoaded", () => localise(document));
  setInterval(tick, 1000);

  // htmx is read once something is painted. Not before `load`: it would wait for a DOMContentLoaded that has been.
  const readHtmx = () => {
    const script = document.createElement("script");
    script.src = "/static/htmx.min.js";
    document.head.append(script);
  };
  addEventListener("load", () => requestAnimationFrame(() => setTimeout(readHtmx)));
})();
