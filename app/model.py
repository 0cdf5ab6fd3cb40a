"""The model, behind the gateway, by Ollama's own client."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpx
from ollama import AsyncClient, ResponseError

from app.queue import Answer, Chunk, Done, Failed
from app.settings import BadSecret, Settings


def _client(settings: Settings, trust: ssl.SSLContext) -> AsyncClient:
    """Of the gateway; BadSecret if its token cannot be read."""
    return AsyncClient(
        settings.ollama_host,
        headers={"Authorization": f"Bearer {settings.secret('gateway.token')}"},
        verify=trust,
        trust_env=False,
        timeout=httpx.Timeout(None, connect=10),
    )


def answers(settings: Settings) -> Answer:
    """How one question is answered: streamed, within the longest answer; Failed if it is not."""
    trust = ssl.create_default_context()  # once: it takes longer than a short answer's first word

    async def answer(prompt: str, max_tokens: int, model: str) -> AsyncIterator[Chunk | Done]:
        # No num_ctx and no keep_alive: Ollama would load the model anew for one student.
        options = {"num_predict": max_tokens}
        try:
            async with _client(settings, trust) as client:
                pieces = 0
                async for part in await client.generate(
                    model,
                    prompt,
                    system=settings.app_system_prompt or None,
                    stream=True,
                    think=False,
                    options=options,
                ):
                    if (
                        part.response or part.thinking
                    ):  # some models think even if a request forbids it
                        pieces += 1
                        yield Chunk(part.response or "")
                    if part.done:
                        yield Done(part.done_reason == "length", part.eval_count or 0)
                        return
            if not pieces:
                raise Failed("unavailable", "an empty answer")
            # A whole stream without its last line: Ollama ends an answer that repeats itself. The
            # stream of a server that is lost is not whole, which is an HTTPError.
            yield Done(False, pieces, broken=True)
        except BadSecret as bad:
            raise Failed("unavailable", str(bad)) from bad
        except ResponseError as refusal:
            code = "busy" if refusal.status_code == 503 else "unavailable"
            raise Failed(code, f"{refusal.status_code}: {refusal.error[:200]}") from refusal
        except (OSError, httpx.HTTPError) as error:
            raise Failed("unavailable", type(error).__name__) from error

    return answer
