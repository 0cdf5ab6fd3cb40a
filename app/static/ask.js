"use strict";
// Without what is asked for here, the page stays the plain form that it is.
(function () {
  if (!window.fetch || !window.ReadableStream || !window.AbortController || !window.TextDecoder) return;

  function one(selector) { return document.querySelector(selector); }
  var form = one("#ask"), prompt = one("#prompt"), ask = one("#ask button[type=submit]");
  var model = one("#model"), stop = one("#stop"), status = one("#status"), now = one("#now"), earlier = one("#earlier");
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
    if (name === "quiet") say("quiet");
    if (name === "text") {
      answer.appendChild(document.createTextNode(data.text));
      say("writing");
    }
    if (name === "done") end(data.broken ? "repeated" : data.cut ? "cut" : "done");
    if (name === "failed") end(data.message);
  }

  // Before its first word an answer is asked for again: the app was replaced meanwhile.
  function broken(question) {
    if (answer.textContent) return end("offline");
    again(question, 5, "restarting");
  }

  function read(reader, mine, question) {
    var decoder = new TextDecoder(), rest = "";
    function more() {
      return reader.read().then(function (part) {
        if (leaving !== mine) return;
        if (part.done) return broken(question);
        rest += decoder.decode(part.value, { stream: true });
        var blocks = rest.split("\n\n");
        rest = blocks.pop();
        blocks.forEach(function (block) {
          var found = /^event: (.*)\ndata: ([^]*)$/.exec(block);
          if (found && leaving === mine) happened(found[1], JSON.parse(found[2]));
        });
        return more();
      });
    }
    return more();
  }

  // A little later than asked for, each by a chance of its own, so that a class does not come back at
  // once. By the clock: a locked phone lets no timer run.
  function again(question, seconds, why) {
    var at = Date.now() + 1000 * (seconds + Math.random() * Math.min(seconds / 2, 3));
    function left() { return Math.ceil((at - Date.now()) / 1000); }
    say(why, { seconds: left() });
    timer = setInterval(function () {
      if (left() > 0) return say(why, { seconds: left() }, true);
      clearInterval(timer);
      send(question);
    }, 1000);
  }

  function send(question) {
    var mine = leaving;
    fetch(form.dataset.api, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", "Accept": "text/event-stream" },
      body: JSON.stringify(question),
      signal: mine.signal
    }).then(function (reply) {
      if (reply.ok) {
        return read(reply.body.getReader(), mine, question).catch(function () {
          if (leaving === mine) broken(question);
        });
      }
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
    var question = { prompt: prompt.value.trim() };
    if (!question.prompt) { say("empty"); prompt.focus(); return; }
    if (model) question.model = model.value;
    keep();
    asked.textContent = question.prompt;
    answer.textContent = "";
    now.hidden = false;
    leaving = new AbortController();
    busy(true);
    say("sent");
    send(question);
  });

  window.addEventListener("beforeunload", function (event) {
    if (leaving) event.preventDefault(); // a slip of the finger would give the place away
  });

  stop.addEventListener("click", function () {
    var mine = leaving;
    end("stopped");
    if (mine) mine.abort();
  });
})();
