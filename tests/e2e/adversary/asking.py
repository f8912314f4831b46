"""How much work a body asks of a provider that reads it: the text for its model, and the most that it may write.

This is the worst honest provider: all text counts, at one token a byte. Anything that it would have to fetch is as long
as its model can read. The module follows the vendors' documentation, not the gateway's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.e2e.adversary.temperaments import Members, Temperament, count, feed

# Providers count a few tokens for each message, and some hundreds for the use of tools.
MESSAGE_TOKENS = 4
TOOLS_TOKENS = 600
# A high resolution image at OpenAI, Anthropic and Gemini stays below.
IMAGE_TOKENS = 2_000
# Compressed speech.
AUDIO_BYTES_PER_TOKEN = 8

# Other names for the bound on output that servers of OpenAI's dialect heed (llama.cpp, vLLM, SGLang, TGI), some of them
# before `max_tokens`.
OTHER_BOUNDS = ("n_predict", "max_new_tokens", "max_output_tokens", "max_length", "min_tokens", "min_new_tokens")
# Members that make servers of OpenAI's dialect read more than the body, or as much as the client's template says.
READS_MORE = (
    "chat_template",
    "chat_template_kwargs",
    "documents",
    "previous_response_id",
    "plugins",
    "mm_processor_kwargs",
    "data_sources",
)
# Members that make them search the web.
SEARCHES = ("enable_search", "search_parameters", "search_options", "web_search", "web_search_options", "online")
# Members of a message in which an address is not followed.
_ONLY_TEXT = ("name", "tool_calls", "tool_call_id", "function_call", "refusal", "reasoning_content")
REMOTE = ("http:", "https:", "gs:", "s3:", "file:", "ftp:")


@dataclass(slots=True)
class Asked:
    """The most that one request asks for."""

    window: int
    """Most tokens that the model reads."""
    ceiling: int
    """The most tokens that it writes without a bound."""
    text: int = 0
    """Input tokens that are text."""
    images: int = 0
    image_tokens: int = IMAGE_TOKENS
    audio: int = 0
    """Tokens of audio."""
    fetched: int = 0
    """Things to be read that are not in the body."""
    output: int = 0
    """Tokens of each choice."""
    rejected: int = 0
    """Output tokens of a wrong prediction, which are billed although nobody sees them."""
    choices: int = 1
    searches: int = 0
    stream: bool = False
    model: str = ""
    """The model that the provider reads, if it is not the intended one."""
    tier: str = ""
    fast: bool = False
    region: bool = False
    writes_cache: bool = False
    writes_cache_1h: bool = False
    speaks: bool = False
    """The output is audio or images."""

    @property
    def input(self) -> int:
        """All tokens of the input."""
        tokens = self.text + self.images * self.image_tokens + self.audio + self.fetched * self.window
        return min(tokens, self.window)

    @property
    def all_output(self) -> int:
        """All tokens of the output."""
        return self.output * self.choices + self.rejected


class Reader:
    """Adds up what one body asks for."""

    def __init__(self, asked: Asked, temperament: Temperament) -> None:
        self.asked = asked
        self.temperament = temperament

    def text(self, value: Any) -> None:
        """Something that the model is fed as text."""
        self.asked.text += feed(value, self.temperament)

    def unknown(self, value: Any) -> None:
        """A part that nobody documents: text, unless it names something to fetch."""
        if any(remote(text) for text in strings(value)):
            self.asked.fetched += 1
        self.text(value)

    def bounds(self, found: list[Any]) -> None:
        """The bound on output under any of its names; None if there is no usable one."""
        usable = [number for number in map(count, found) if number is not None and number > 0]
        whole = usable and len(usable) == len(found)
        self.asked.output = min(max(usable), self.asked.ceiling) if whole else self.asked.ceiling

    def choices(self, value: Any) -> None:
        """How many answers are written."""
        self.asked.choices *= max(1, count(value) or 1)


def strings(value: Any) -> Iterator[str]:
    """All strings inside a value."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(item)


def remote(text: str) -> bool:
    """Whether this is the address of something to fetch."""
    return text.lstrip().lower().startswith(REMOTE)


def members(value: Any) -> list[Members]:
    """The objects in a list."""
    return [item for item in value if isinstance(item, Members)] if isinstance(value, list) else []


def read_openai(body: Members, asked: Asked, temperament: Temperament) -> Asked:
    """POST /v1/chat/completions."""
    reader = Reader(asked, temperament)
    _openai_input(body, reader)
    reader.bounds(body.all_at("max_tokens", "max_completion_tokens", *OTHER_BOUNDS))
    reader.choices(body.at("n"))
    reader.choices(body.at("best_of"))
    prediction = body.at("prediction")
    if isinstance(prediction, Members):
        asked.rejected += sum(feed(text, temperament) for text in strings(prediction.at("content")))
    asked.stream = bool(body.at("stream"))
    asked.speaks = "audio" in (body.at("modalities") or ()) or body.at("audio") is not None
    asked.model = str(body.at("model"))
    if isinstance(body.at("models"), list) and body.at("models"):
        asked.model = str(body.at("models")[-1])
    asked.tier = str(body.at("service_tier") or "")
    asked.region = body.at("inference_geo") is not None
    asked.fast = body.at("speed") == "fast"
    return asked


def _openai_input(body: Members, reader: Reader) -> None:
    asked = reader.asked
    for message in members(body.at("messages")):
        asked.text += MESSAGE_TOKENS
        _openai_content(message.at("content"), reader)
        audio = message.at("audio")
        asked.fetched += isinstance(audio, Members) and audio.at("id") is not None
        for name, value in message.besides("role", "content", "audio").items():
            reader.text(name)
            (reader.text if name in _ONLY_TEXT else reader.unknown)(value)
    for name in ("tools", "functions", "response_format"):
        if body.at(name):
            asked.text += TOOLS_TOKENS
            reader.text(body.at(name))
    for tool in members(body.at("tools")):
        if tool.at("type") not in (None, "function", "custom"):
            asked.searches += 1
            asked.fetched += 1
    for name in (*READS_MORE, *SEARCHES):
        if body.at(name):
            asked.fetched += 1
            asked.searches += name in SEARCHES


def _openai_content(content: Any, reader: Reader) -> None:
    if not isinstance(content, list):
        if content is not None:
            reader.text(content)
        return
    for part in content:
        if not isinstance(part, Members):
            reader.text(part)
        elif part.at("type") == "text" or (part.at("type") is None and isinstance(part.at("text"), str)):
            reader.text(part.at("text") or "")
        elif part.at("image_url") is not None:
            _openai_image(part.at("image_url"), reader)
        elif part.at("type") == "input_audio" and isinstance(part.at("input_audio"), Members):
            _audio(part.at("input_audio").at("data"), reader)
        elif part.at("type") == "file":
            reader.asked.fetched += part.at("file") is not None
        else:
            reader.unknown(part)


def _openai_image(image: Any, reader: Reader) -> None:
    url = image.at("url") if isinstance(image, Members) else image
    if isinstance(url, str) and (url.startswith("data:image/") or remote(url)):
        reader.asked.images += 1
    else:
        reader.unknown(image)


def _audio(data: Any, reader: Reader) -> None:
    if isinstance(data, str) and not remote(data):
        reader.asked.audio += len(data) // AUDIO_BYTES_PER_TOKEN
    else:
        reader.unknown(data)
