"""The companion app: up, as declared, its bounds those of Ollama, and its door well kept."""

from __future__ import annotations

import json
import re
import shlex

from ollama_stack import containers
from ollama_stack.config.types import checksum
from tests.audit.control import DEPLOY, Blocked, Finding, NotApplicable, Reading, control
from tests.audit.conversation import Output
from tests.audit.live import APP, Live
from tests.audit.test_exposure import listening, published
from tests.audit.test_hardening import owned
from tests.audit.test_service import has_image, healthy, let_in, networks, runs

APP_LOG = (
    f"docker logs --tail 50 {APP}, of a cluster: docker service logs ollama_app; then {DEPLOY}"
)
PAGE = "OLS-1206"  # what everything at the students' door depends on
POLICY = {
    *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'"),
    *("connect-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"),
}


@control("OLS-1201", "The app runs", "critical", "ours")
def test_app_runs(live: Live) -> Finding:
    """Students have no other page."""
    _declared(live)
    return runs(live, APP)


@control("OLS-1202", "The app is healthy", "high", "CIS Docker 5.27", APP_LOG)
def test_app_is_healthy(live: Live) -> Finding:
    """Docker's own look from inside the container."""
    return healthy(live, live.app)


@control("OLS-1203", "The app always restarts", "high", "ours")
def test_app_always_restarts(live: Live) -> Finding:
    """After a crash or a power cut nobody is there at 08:00 to start it."""
    return live.app.read("HostConfig.RestartPolicy.Name").equals("always")


@control("OLS-1204", "The app is the declared image", "high", "ours")
def test_app_is_the_declared_image(live: Live) -> Finding:
    """Another image is another program."""
    return has_image(live, live.app, live.settings.app_image_ref)


@control("OLS-1205", "The app is on its network alone", "medium", "ours")
def test_app_is_on_its_network_alone(live: Live) -> Finding:
    """Anybody who shares a network with it needs no gateway."""
    return networks(live, live.app)


@control(PAGE, "The students' page answers", "critical", "ours", APP_LOG)
def test_the_students_page_answers(live: Live) -> Finding:
    """This is where the class looks at 08:00."""
    output = _door(live, "/")
    code = output.text.split()[-1]
    line = f"HTTP {code}" if code != "000" else output.error.strip() or "no answer"
    return output.reading(line, line).equals("HTTP 200")


@control("OLS-1207", "Docker publishes no port of the app itself", "high", "CIS Docker 5.14")
def test_docker_publishes_no_port_of_the_app(live: Live) -> Finding:
    """Past the gateway a slow client holds a thread, and nothing is encrypted."""
    live.pid(live.app)
    return published(live.app, [])


@control(
    *("OLS-1208", "The host listens for students on the declared address alone", "high", "ss(8)"),
    "ss -ltnp tells who listens: stop it; a missing one: {deploy}",
)
def test_the_host_listens_for_students_on_the_declared_address_alone(live: Live) -> Finding:
    """The socket is what the network sees, whatever Docker was told."""
    _declared(live)
    return listening(live, live.settings.app_port, live.settings.app_bind, PAGE)


@control("OLS-1209", "One process of the app serves", "high", "rule of thumb; gunicorn workers")
def test_one_process_of_the_app_serves(live: Live) -> Finding:
    """Each process has a pool of its own: two of them ask for twice as much."""
    live.pid(live.app)
    output = live.ask(f"docker top {APP} -eo pid,ppid,args")
    lines = [line.split(None, 2) for line in output.text.splitlines()[1:]]
    served = [
        line for line in lines if "gunicorn" in line[2] and "docker-init" not in line[2]
    ]  # not Docker's own look at its health
    workers = [line for line in served if line[1] in {other[0] for other in served}]
    return output.reading(len(workers), output.text).equals(1)


@control(
    "OLS-1210", "The app's pool is as large as Ollama's runner is wide", "high", "rule of thumb"
)
def test_the_apps_pool_is_the_runners(live: Live) -> Finding:
    """A larger pool waits where nobody counts, a smaller one leaves slots empty."""
    return _gauge(live, "app_pool_threads").equals(live.runner.parallel.value)


@control(
    "OLS-1211", "The app's waiting room is as large as the gateway's queue", "high", "rule of thumb"
)
def test_the_apps_waiting_room_is_the_gateways_queue(live: Live) -> Finding:
    """Two bounds that differ promise a place that is none."""
    bound = re.search(r"queue\(generations\) ge (\d+)", live.configuration.text)
    if not bound:
        raise Blocked("OLS-515")
    return _gauge(live, "app_waiting_places").equals(int(bound[1]))


@control(
    *("OLS-1212", "The app has heard from the model within a minute", "critical"),
    *("ours: HTTP 200 proves nothing", APP_LOG),
    deep=True,
)
def test_the_app_has_heard_from_the_model(live: Live) -> Finding:
    """The whole way of a student's question; an idle app asks for a word."""
    output, code = _answer(live, "/readyz", seconds=120)
    line = f"HTTP {code}: {output.text.splitlines()[0][:200]}"
    return output.reading(line, line).meets("HTTP 200", code == "200", steady=False)


@control("OLS-1213", "The page lets in no foreign script or frame", "high", "CSP Level 3")
def test_the_page_lets_in_no_foreign_script(live: Live) -> Finding:
    """What the model writes must stay text, whatever it writes."""
    output, _ = _answer(live, "/", headers=True)
    policy = _header(output, "Content-Security-Policy")
    found = {part.strip() for part in policy.split(";")}
    wrong = [f"no {part}" for part in sorted(POLICY - found)]
    wrong += [f"also {part}" for part in sorted(found - POLICY) if part]
    if _header(output, "X-Content-Type-Options") != "nosniff":
        wrong.append("no nosniff")
    here = output.reading(wrong, policy or "no Content-Security-Policy")
    return here.equals([], lambda found: ", ".join(found) or "this policy")


@control("OLS-1214", "The students' cookie is for the app alone", "medium", "RFC 6265bis")
def test_the_students_cookie_is_for_the_app_alone(live: Live) -> Finding:
    """Anybody who can read it asks in another student's name."""
    output, _ = _answer(live, "/", headers=True)
    cookie = _header(output, "Set-Cookie")
    wanted = ["HttpOnly", "SameSite=Lax", *(["Secure"] if live.settings.gateway_has_tls else [])]
    attributes = cookie.split("; ")
    found = [part for part in wanted if part in attributes]
    found += [part for part in attributes if part.startswith("Domain=")]
    return output.reading(found, re.sub("=[^;]*", "=...", cookie, count=1)).equals(
        wanted, ", ".join
    )


@control("OLS-1215", "The app's secrets are its own", "critical", "stat(1)")
def test_the_apps_secrets_are_its_own(live: Live) -> Finding:
    """Anybody who has them signs cookies, or is the teacher."""
    _declared(live)
    names = ("cookie.key", "gateway.token", "teacher.token")
    return owned(
        live, {f"{live.settings.app_dir}/{name}": f"600 {containers.APP.user}" for name in names}
    )


@control("OLS-1216", "The app refuses a question that is too long", "medium", "ours")
def test_the_app_refuses_a_question_that_is_too_long(live: Live) -> Finding:
    """Ollama cuts its beginning off, and says nothing."""
    body = {"prompt": "x" * (live.settings.app_max_prompt + 1), "max_tokens": 1}
    typed = " --header 'Content-Type: application/json'"
    output, code = _answer(live, "/api/ask", body=body, more=typed)
    refusal = re.search(r'"error": *"(\w+)"', output.text)
    here = output.reading(f"{code} {refusal[1] if refusal else 'no error'}", output.text)
    return here.equals("400 too_long")


@control("OLS-1217", "The app takes no form of a foreign page", "medium", "OWASP CSRF")
def test_the_app_takes_no_form_of_a_foreign_page(live: Live) -> Finding:
    """Another site could ask in a student's name."""
    output, code = _answer(live, "/", more=" --data prompt=hi --output /dev/null")
    return output.reading(code, f"HTTP {code}").equals("400")


@control("OLS-1218", "The app has a thread for everybody who waits", "high", "gunicorn threads")
def test_the_app_has_a_thread_for_everybody_who_waits(live: Live) -> Finding:
    """Anybody who finds no thread sees no page, whatever the waiting room promises."""
    return _gauge(live, "app_threads").equals(live.settings.app_threads)


@control(
    "OLS-1219", "The gateway lets as many in as the app has threads", "high", "HAProxy maxconn"
)
def test_the_gateway_lets_as_many_in_as_the_app_has_threads(live: Live) -> Finding:
    """Fewer wait where nobody tells them their place, more wait where nobody counts them."""
    _declared(live)
    return let_in(live, "app", "app").equals(live.settings.app_threads)


@control("OLS-1220", "The page offers the declared models", "medium", "ours")
def test_the_page_offers_the_declared_models(live: Live) -> Finding:
    """A model that one student chooses can take the memory of the one that the class asks."""
    output, code = _answer(live, "/api/openapi.json")
    text = output.text.rstrip().rpartition("\n")[0] if code == "200" else "{}"
    question = json.loads(text).get("components", {}).get("schemas", {}).get("Question", {})
    listed = question.get("properties", {}).get("model", {}).get("enum", [])
    found = [name for name in listed if name]
    line = ", ".join(found) or f"HTTP {code}: no list of models"
    return output.reading(found, line).equals(live.settings.app_offered, ", ".join)


@control("OLS-1221", "The app tells the model the declared words first", "high", "ours")
def test_the_app_tells_the_model_the_declared_words_first(live: Live) -> Finding:
    """Pupils ask the model as their teacher has set it up; this report has a checksum of the words alone."""
    reading = _metric(live, r'app_system_prompt_info{sha256="(\w+)"}')
    return reading.equals(checksum(live.settings.app_system_prompt))


def _declared(live: Live) -> None:
    if not live.settings.app_enabled:
        raise NotApplicable("app_enabled is False")
    if live.settings.cluster and not live.manager:
        raise NotApplicable("the managers have the page")


def _door(
    live: Live, path: str, *, body: object = None, more: str = "", seconds: int = 40
) -> Output:
    """The answer at the students' door, then a line with its HTTP status (000: none)."""
    _declared(live)
    data = f" --data {shlex.quote(json.dumps(body))}" if body is not None else ""
    return live.curl(
        f"curl -sS --insecure --noproxy '*' --max-time {seconds} --write-out '\\n%{{http_code}}\\n'"
        f"{data}{more} {live.settings.app_url}{path}",
        seconds=seconds + 5,
    )


def _answer(
    live: Live,
    path: str,
    *,
    body: object = None,
    more: str = "",
    headers: bool = False,
    seconds: int = 40,
) -> tuple[Output, str]:
    """An answer of the app and its status; Blocked if the page does not answer."""
    if _door(live, "/").text.split()[-1] != "200":
        raise Blocked(PAGE)
    shown = " --dump-header - --output /dev/null" if headers else ""
    output = _door(live, path, body=body, more=more + shown, seconds=seconds)
    return output, output.text.split()[-1]


def _header(output: Output, name: str) -> str:
    found = re.search(rf"^{name}: (.*?)\r?$", output.text, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else ""


def _gauge(live: Live, name: str) -> Reading:
    """A figure that the app's process tells of itself."""
    reading = _metric(live, rf"{name} (\d+)")
    return Reading(int(reading.value) if reading.value else None, reading.command, reading.line)


def _metric(live: Live, pattern: str) -> Reading:
    """What the app's process tells of itself, at its container's own address; None if it does not."""
    live.pid(live.app)
    url = f"http://{live.app.address}:8080/metrics"
    output = live.run(live.of_docker(f"curl -sS --fail --noproxy '*' --max-time 10 {url}"))
    if output.code:
        raise Blocked(PAGE)
    found = re.search(f"^{pattern}", output.text, re.MULTILINE)
    return output.reading(found[1] if found else None, found[0] if found else f"no {pattern}")
