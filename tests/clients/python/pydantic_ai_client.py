"""pydantic-ai."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.clients.python.jobs import WEATHER, Answer, Job, serve


def get_weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"{city}: {WEATHER}"


def _model(job: Job) -> Any:
    match job.dialect:
        case "anthropic":
            return AnthropicModel(job.model, provider=AnthropicProvider(api_key=job.secret, base_url=job.url))
        case "gemini":
            return GoogleModel(job.model, provider=GoogleProvider(api_key=job.secret, base_url=job.url))
        case dialect:
            kind = OpenAIResponsesModel if dialect == "responses" else OpenAIChatModel
            return kind(job.model, provider=OpenAIProvider(api_key=job.secret, base_url=f"{job.url}/v1"))


async def _run(job: Job) -> Answer:
    agent: Any = Agent(_model(job), tools=[get_weather] if job.do == "loop" else [])
    if job.do == "stream":
        async with agent.run_stream(job.prompt) as result:
            text = "".join([piece async for piece in result.stream_text(delta=True)])
            return _answer(text, result.usage)
    result = await agent.run(job.prompt)
    return _answer(result.output, result.usage)


def _answer(text: str, usage: Any) -> Answer:
    told = usage() if callable(usage) else usage
    return Answer(text, told.input_tokens, told.output_tokens)


if __name__ == "__main__":
    serve(lambda job: asyncio.run(_run(job)))
