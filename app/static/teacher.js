"use strict";
(function () {
  var state = document.getElementById("state"), shown = "";
  if (!window.fetch) return;
  setInterval(function () {
    if (document.hidden) return;
    fetch(state.dataset.from, { credentials: "same-origin" }).then(function (answer) {
      if (answer.status === 403) location.reload();
      return answer.ok ? answer.text() : null;
    }).then(function (html) {
      if (!html || html === shown) return; // what a screen reader is at stays
      state.innerHTML = shown = html; // made by our own server, escaped there
    }).catch(function () { /* the next look may find it again */ });
  }, 3000);
})();
