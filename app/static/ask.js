"use strict";
// Without what is asked for here, the page stays the plain form that it is.
(function () {
  if (!window.fetch || !window.ReadableStream || !window.AbortController || !window.TextDecoder) return;

  function one(selector) { return document.querySelector(selector); }
  var form = one("#ask"), prompt = one("#prompt"), ask = one("#ask button[type=submit]");
  var stop = one("#stop"), status = one("#status"), now = one("#now"), earlier = one("#earlier");
  var asked = one("#now .asked"), answer = one("#now .answer");
  var texts = JSON.parse(status.dataset.texts);
  var leaving = null, timer = null;

  // A countdown is read aloud once, not every second.
  function say(name, values, silently) {
    status.setAttribute("aria-live", silently ? "off" : "polite");
    var text = texts[name] || name;
    Object.keys(values || {}).forEach(function (key) { text = text.replace("{" + key + "}", values[key]); });
    if (status.textContent !== text) status.textContent = text;
  }

  function busy(yes) {
    ask.disabled = yes;
    stop.hidden = !yes;
    answer.setAttribute("aria-busy", String(yes));
  }

  function end(name, values) {
    leaving = null;
    clearInterval(timer);
    if (document.activeElement === stop) prompt.focus();
    busy(false);
    say(name, values);
    ask.textContent = texts.ask_again;
  }

  // What was answered before moves below, the newest first.
  function keep() {
    if (!answer.textContent) return;
    var kept = document.createElement("article");
    kept.appendChild(asked.cloneNode(true));
    kept.appendChild(answer.cloneNode(true));
    earlier.insertBefore(kept, earlier.children[1] || null);
    earlier.hidden = false;
  }

  function happened(name, data) {
    if (name === "place") say("place", data);
    if (name === "turn") say("turn");
    if (name === "text") {
      answer.appendChild(document.createTextNode(data.text));
      say("writing");
    }
    if (name === "done") end(data.cut ? "cut" : "done");
    if (name === "failed") end(data.message);
  }

  function read(reader, question) {
    var decoder = new TextDecoder(), rest = "";
    function more() {
      return reader.read().then(function (part) {
        if (part.done) {
          if (leaving && !answer.textContent) return again(question, 5, "restarting");
          if (leaving) end("offline");
          return;
        }
        rest += decoder.decode(part.value, { stream: true });
        var blocks = rest.split("\n\n");
        rest = blocks.pop();
        blocks.forEach(function (block) {
          var found = /^event: (.*)\ndata: (.*)$/.exec(block);
          if (found && leaving) happened(found[1], JSON.parse(found[2]));
        });
        return more();
      });
    }
    return more();
  }

  // Later than asked for, each by a chance of its own, so that a class does not come back at once.
  function again(question, seconds, why) {
    var left = Math.ceil(seconds * (1 + Math.random() / 2));
    say(why, { seconds: left });
    timer = setInterval(function () {
      left -= 1;
      if (left > 0) return say(why, { seconds: left }, true);
      clearInterval(timer);
      send(question);
    }, 1000);
  }

  function send(question) {
    var mine = leaving;
    fetch("/api/ask", {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", "Accept": "text/event-stream" },
      body: JSON.stringify({ prompt: question }),
      signal: mine.signal
    }).then(function (reply) {
      if (reply.ok) return read(reply.body.getReader(), question);
      return reply.json().catch(function () { return {}; }).then(function (problem) {
        if (leaving !== mine) return;
        var seconds = Number(reply.headers.get("Retry-After")) || 5;
        if (problem.error === "full") return again(question, seconds, "retrying");
        if (problem.message) return end(problem.message);
        again(question, seconds, "restarting"); // the gateway's own words: the app is not there
      });
    }).catch(function () {
      if (leaving === mine) end("offline");
    });
  }

  form.addEventListener("submit", function (event) {
    event.preventDefault();
    if (leaving) return;
    var question = prompt.value.trim();
    if (!question) { say("empty"); prompt.focus(); return; }
    keep();
    asked.textContent = question;
    answer.textContent = "";
    now.hidden = false;
    leaving = new AbortController();
    busy(true);
    say("turn");
    send(question);
  });

  stop.addEventListener("click", function () {
    var mine = leaving;
    end("stopped");
    if (mine) mine.abort();
  });
})();
