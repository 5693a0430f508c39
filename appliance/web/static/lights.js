"use strict";
// The drawings flash together with the lamps themselves: both count from the start of the box.

const uptimeMs = Number(document.getElementById("panel").dataset.ms);
const beganMs = document.timeline.currentTime - uptimeMs;

function together() {
  for (const drawn of document.getAnimations()) {
    if (drawn.startTime !== beganMs) drawn.startTime = beganMs;
  }
}

function mark() {
  const says = (row) => document.getElementById(`lamp-${row.dataset.lamp}`).classList.contains(`is-${row.dataset.state}`);
  for (const row of document.querySelectorAll("[data-state]")) row.classList.toggle("current", says(row));
}

new MutationObserver(() => { together(); mark(); }).observe(document.getElementById("live"), { attributes: true, childList: true, subtree: true });
together();
