"""LangChain's chat models."""

from __future__ import annotations

from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI

from tests.clients.python.jobs import MAX_TURNS, WEATHER, Answer, Job, serve


def get_weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"{city}: {WEATHER}"


def _model(job: Job) -> Any:
    match job.dialect:
        case "anthropic":
            return ChatAnthropic(model=job.model, api_key=job.secret, base_url=job.url)
        case "gemini":
            return ChatGoogleGenerativeAI(model=job.model, google_api_key=job.secret, base_url=job.url)
        case dialect:
            return ChatOpenAI(
                model=job.model,
                api_key=job.secret,
                base_url=f"{job.url}/v1",
                stream_usage=True,
                use_responses_api=dialect == "responses",
            )


def _work(job: Job) -> Answer:
    model = _model(job)
    if job.do == "stream":
        whole: Any = None
        for piece in model.stream(job.prompt):
            whole = piece if whole is None else whole + piece
        return _answer([whole])
    if job.do == "plain":
        return _answer([model.invoke(job.prompt)])
    weather = tool(get_weather)
    bound, conversation, answers = model.bind_tools([weather]), [HumanMessage(job.prompt)], []
    for _ in range(MAX_TURNS):
        answers.append(bound.invoke(conversation))
        conversation.append(answers[-1])
        if not answers[-1].tool_calls:
            break
        conversation += [
            ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in answers[-1].tool_calls
        ]
    return _answer(answers)


def _answer(answers: list[Any]) -> Answer:
    used = [answer.usage_metadata for answer in answers]
    return Answer(
        answers[-1].text, sum(each["input_tokens"] for each in used), sum(each["output_tokens"] for each in used)
    )


if __name__ == "__main__":
    serve(_work)
