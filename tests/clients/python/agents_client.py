"""OpenAI's Agents SDK."""

from __future__ import annotations

import asyncio
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

from tests.clients.python.jobs import MAX_TURNS, WEATHER, Answer, Job, serve

_MODELS = {"openai": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}


def get_weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"{city}: {WEATHER}"


async def _run(job: Job) -> Answer:
    model = _MODELS[job.dialect](
        model=job.model, openai_client=AsyncOpenAI(api_key=job.secret, base_url=f"{job.url}/v1")
    )
    tools: list[Any] = [function_tool(get_weather)] if job.do == "loop" else []
    # Of itself it asks for a stream's usage at its vendor's own address only.
    settings = ModelSettings(include_usage=True)
    agent: Any = Agent(name="assistant", model=model, tools=tools, model_settings=settings)
    if job.do == "stream":
        result: Any = Runner.run_streamed(agent, job.prompt)
        async for _ in result.stream_events():
            pass
    else:
        result = await Runner.run(agent, job.prompt, max_turns=MAX_TURNS)
    usage = result.context_wrapper.usage
    return Answer(result.final_output, usage.input_tokens, usage.output_tokens)


if __name__ == "__main__":
    # It would report each run to its vendor.
    set_tracing_disabled(True)
    serve(lambda job: asyncio.run(_run(job)))
