"use strict";
// Once a second: fetch what the page shows now and change only what differs, so that buttons, open drawers and focus stay.

const live = document.getElementById("live");
const silence = document.getElementById("silence");
const shape = (root) => [...root.querySelectorAll("[id], [name=token]")].map((part) => part.id || part.value).join(" ");

function renew(fresh) {
  document.title = fresh.querySelector("[data-title]").dataset.title;
  if (shape(fresh) !== shape(live)) {
    live.replaceChildren(...fresh.childNodes);
    return;
  }
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const shown = document.getElementById(part.id);
    shown.setAttribute("class", part.getAttribute("class") || "");
    if (shown.innerHTML !== part.innerHTML) shown.innerHTML = part.innerHTML;
    shown.closest("li")?.setAttribute("class", part.closest("li")?.getAttribute("class") || "");
  }
  for (const part of fresh.querySelectorAll("img.picture")) {
    const next = new Image(); // the old picture stays until the new one is there
    next.onload = () => { document.getElementById(part.id)?.setAttribute("src", next.src); };
    next.src = part.getAttribute("src");
  }
}

async function look() {
  try {
    const answer = await fetch(live.dataset.from || "/live", { cache: "no-store", signal: AbortSignal.timeout(3000) });
    if (!answer.ok) throw new Error(answer.statusText);
    renew(new DOMParser().parseFromString(await answer.text(), "text/html").body);
    silence.hidden = true;
    live.classList.remove("silent");
  } catch {
    silence.hidden = false;
    live.classList.add("silent");
  }
  setTimeout(look, document.hidden ? 5000 : 1000);
}

setTimeout(look, 1000);
