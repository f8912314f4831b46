-- Reads what an answer used while it passes, and publishes each figure as soon as it is known: an answer that ends
-- early has in its log line what was known by then. Takes the usage out that a client of OpenAI's dialect did not ask
-- for. An error here costs the client nothing: the rest passes untouched, and the line says `meter: failed`.

local anthropic = require("usage/anthropic")
local events = require("meter/events")
local gemini = require("usage/gemini")
local openai = require("usage/openai")
local reader = require("meter/reader")

local REQUEST, ATTEMPT, USAGE = "spendgate.request", "spendgate.attempt", "spendgate.usage"

local DIALECTS = { openai = openai, anthropic = anthropic, gemini = gemini }
-- What is published; `UsageKey` in services/kernel/spool_contract.py says what each is.
local FIGURES = {
  "input_tokens",
  "output_tokens",
  "total_tokens",
  "cached_tokens",
  "cached_audio_tokens",
  "cached_image_tokens",
  "cached_video_tokens",
  "cache_write_tokens",
  "cache_write_1h_tokens",
  "tool_input_tokens",
  "tool_input_audio_tokens",
  "tool_input_image_tokens",
  "tool_input_video_tokens",
  "tool_input_document_tokens",
  "tool_input_other_tokens",
  "input_audio_tokens",
  "input_image_tokens",
  "input_video_tokens",
  "input_document_tokens",
  "input_other_tokens",
  "reasoning_tokens",
  "output_audio_tokens",
  "output_image_tokens",
  "output_video_tokens",
  "output_document_tokens",
  "output_other_tokens",
  "web_searches",
  "web_fetches",
  "model",
  "service_tier",
  "finish",
  "error",
}
-- Evidence is told again when there is so much more of it: events by this factor, or text by this factor and some
-- bytes. So what was not told is bounded, and `UsageKey.SEEN` says by what.
local GROWTH = 1.25
local GROWTH_BYTES = 64

local find = string.find

-- State for one answer: a stream of events, or one body of JSON. Pure, for the tests, like the next three.
function new_meter(dialect, is_stream, stripping)
  local meter = {
    dialect = DIALECTS[dialect],
    found = {},
    published = {},
    sent = 0, -- bytes that were passed on
    told = 0, -- content events that were told
    told_text = 0, -- bytes of text that were told
    ended = false,
  }
  if is_stream then
    meter.stream = events.new(meter.dialect, meter.found, stripping)
  else
    meter.reader = reader.new(meter.dialect.wanted, meter.found)
  end
  return meter
end

-- What to pass on for `bytes`.
function take(meter, bytes)
  local sent = bytes
  if meter.stream then
    sent = events.feed(meter.stream, bytes)
  else
    reader.feed(meter.reader, bytes)
  end
  meter.sent = meter.sent + #sent
  return sent
end

-- What to pass on when no more bytes come.
function finish(meter)
  meter.ended = true
  local rest = meter.stream and events.finish(meter.stream) or ""
  meter.sent = meter.sent + #rest
  return rest
end

-- How far the figures can be trusted: "whole" is the provider's last word, "none" that it said nothing.
local function state_of(meter)
  local found, stream = meter.found, meter.stream
  local known = found.input_tokens or found.output_tokens
  if not (meter.ended or (stream and stream.over)) then return known and "open" or nil end
  if not known then return "none" end
  -- A stream that ended in an error, within an event, or without its last figures, had more to say.
  local is_cut = stream and (found.error or stream.broken or (meter.dialect.is_open and meter.dialect.is_open(found)))
  return is_cut and "open" or "whole"
end

-- What is new since the last call, by name; nil when nothing is.
function news(meter)
  local stream, published, found = meter.stream, meter.published, meter.found
  local source = stream or meter.reader
  local is_due = meter.ended or source.news
  local changed
  if
    stream
    and stream.events > 0
    and (
      meter.ended
      or stream.content >= meter.told * GROWTH + 1
      or stream.text >= meter.told_text * GROWTH + GROWTH_BYTES
    )
  then
    meter.told, meter.told_text = stream.content, stream.text
    changed = {
      seen = { events = stream.events, content = stream.content, text = stream.text, bytes = meter.sent },
    }
  end
  if not is_due then return changed end
  source.news = false
  meter.dialect.settle(found)
  local state = state_of(meter)
  if state ~= published.meter then
    changed = changed or {}
    changed.meter, published.meter = state, state
  end
  for index = 1, #FIGURES do
    local name = FIGURES[index]
    local value = found[name]
    if value ~= nil and published[name] ~= value then
      changed = changed or {}
      changed[name], published[name] = value, value
    end
  end
  return changed
end

local function publish(handle, changed)
  local metadata = handle:streamInfo():dynamicMetadata()
  for name, value in pairs(changed) do metadata:set(USAGE, name, value) end
end

local function fail(handle, problem)
  handle:logErr("meter: " .. tostring(problem))
  handle:streamInfo():dynamicMetadata():set(USAGE, "meter", "failed")
end

-- The meter for this answer, nil when there is nothing to read: it is of no attempt, or of no kind that tells usage.
local function begin(handle)
  local headers, metadata = handle:headers(), handle:streamInfo():dynamicMetadata()
  local attempt, request = metadata:get(ATTEMPT), metadata:get(REQUEST)
  local kind = headers:get("content-type") or ""
  local is_stream = find(kind, "^text/event%-stream") ~= nil
  if not attempt or not request or not (is_stream or find(kind, "json", 1, true)) then return nil end
  local encoding = headers:get("content-encoding")
  if encoding and encoding ~= "identity" then
    metadata:set(USAGE, "meter", "encoded")
    return nil
  end
  local stripping = is_stream and request.dialect == "openai" and attempt.strip_usage == true
  if stripping then headers:remove("content-length") end
  return new_meter(request.dialect, is_stream, stripping)
end

-- One piece of the body. What it says is published before it is passed on: clients hang up at `[DONE]`.
local function pass(handle, meter, bytes)
  local sent = #bytes > 0 and take(meter, bytes) or finish(meter)
  local changed = news(meter)
  if changed then publish(handle, changed) end
  return sent
end

function envoy_on_response(handle)
  local begun, meter = pcall(begin, handle)
  if not begun then pcall(fail, handle, meter) end
  if not begun or not meter then return end
  -- An error that left this loop would end the script, and what is held back would be lost.
  for chunk in handle:bodyChunks() do
    if meter then
      local length = chunk:length()
      -- The end of a stream is a chunk of its own, without bytes.
      local bytes = length > 0 and chunk:getBytes(0, length) or ""
      local held = meter.stream and meter.stream.pieces
      local count = held and #held
      local done, sent = pcall(pass, handle, meter, bytes)
      if not done then
        pcall(fail, handle, sent)
        sent = (meter.stream and meter.stream.stripping) and table.concat(held, "", 1, count) .. bytes or bytes
        meter = nil
      end
      if sent ~= bytes then chunk:setBytes(sent) end
    end
  end
  -- Over HTTP/2 the end may come with the last bytes, or with trailers: nothing can be passed on then, only said.
  if meter and not meter.ended then pcall(pass, handle, meter, "") end
end
