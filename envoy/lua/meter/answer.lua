-- The usage of one answer so far: bytes in, bytes and figures out.

local ending = require("meter/ending")
local events = require("meter/events")
local reader = require("meter/reader")
local tables = require("usage/tables")
local usage_line = require("usage_line")

local answer = {}

-- The published figures. `UsageKey` in services/kernel/spool_contract.py explains each.
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
answer.figures = FIGURES
-- Evidence is reported again when it has grown: events by this factor, or text by this factor and some bytes. So the
-- unreported rest is bounded; `UsageKey.SEEN` gives the bound.
local GROWTH = 1.25
local GROWTH_BYTES = 64

-- State for one answer: a stream of events, or one JSON body. `name` is that of its table. `stripping` means that the
-- usage chunk was not requested. `client` says who must be told of a stream that breaks: `dialect`, `provider`, and how
-- many `choices` it asked for. Nil: nobody, because the answer is an error already.
function answer.new(name, is_stream, stripping, client)
  local meter = {
    client = client,
    dialect = tables[name],
    found = {},
    published = {},
    seen = nil, -- the latest evidence of a stream
    written = {}, -- what the line says of each published figure, by its index
    sent = 0, -- bytes passed on
    reported = 0, -- content events reported
    reported_text = 0, -- bytes of text reported
    ended = false,
  }
  if is_stream then
    meter.stream = events.new(meter.dialect, meter.found, stripping, client)
  else
    meter.reader = reader.new(meter.dialect.wanted, meter.found)
  end
  return meter
end

-- Appends to `sent` what the client must be told.
local function say(meter, sent)
  local stream = meter.stream
  if not (stream and stream.unsaid) then return sent end
  stream.unsaid = false
  return sent .. ending.event(meter.client)
end

-- Returns what to pass on for `bytes`.
function answer.take(meter, bytes)
  local sent = bytes
  if meter.stream then
    sent = say(meter, events.feed(meter.stream, bytes))
  else
    reader.feed(meter.reader, bytes)
  end
  meter.sent = meter.sent + #sent
  return sent
end

-- Returns what to pass on when no more bytes come.
function answer.finish(meter)
  meter.ended = true
  local choices = meter.client and meter.client.choices or 1
  local rest = ""
  if meter.stream then
    rest = say(meter, events.finish(meter.stream, choices))
  elseif reader.is_within(meter.reader) then
    meter.found.error = meter.found.error or ending.EARLY
  end
  meter.sent = meter.sent + #rest
  return rest
end

-- How far the figures can be trusted. "whole": they are the provider's final ones. "none": it sent none.
local function state_of(meter)
  local found, stream = meter.found, meter.stream
  local known = found.input_tokens or found.output_tokens
  if not (meter.ended or (stream and stream.over)) then return known and "open" or nil end
  if not known then return "none" end
  if not stream then return "whole" end
  -- A stream that ended in an error, within an event, or without its final figures was incomplete. Some dialects say
  -- which figures are final; there they are so even if the end mark is missing.
  local is_open = meter.dialect.is_open
  local is_cut = stream.broken or (found.error and not (is_open and found.error == ending.EARLY))
  return (is_cut or (is_open and is_open(found))) and "open" or "whole"
end

-- Whether the client got no whole answer although its head was good: it carried an error, or it ended within its text,
-- or it was a stream that ended without its end mark.
function answer.is_broken(meter)
  return meter.found.error ~= nil
end

-- The figures that are new since the last call, by name; nil if there are none.
function answer.news(meter)
  local stream, published, found = meter.stream, meter.published, meter.found
  local source = stream or meter.reader
  local is_due = meter.ended or source.news
  local changed
  if
    stream
    and stream.events > 0
    and (
      meter.ended
      or stream.content >= meter.reported * GROWTH + 1
      or stream.text >= meter.reported_text * GROWTH + GROWTH_BYTES
    )
  then
    meter.reported, meter.reported_text = stream.content, stream.text
    meter.seen = { events = stream.events, content = stream.content, text = stream.text, bytes = meter.sent }
    changed = { seen = meter.seen }
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
      meter.written[index] = usage_line.member(name, value)
    end
  end
  return changed
end

-- Everything that was reported so far, as the log writes it. Gemini reports figures in every event, so each is written
-- only when it changes.
function answer.line(meter)
  local members, written = {}, meter.written
  if meter.published.meter then members[1] = usage_line.member("meter", meter.published.meter) end
  for index = 1, #FIGURES do
    if written[index] then members[#members + 1] = written[index] end
  end
  if meter.seen then members[#members + 1] = usage_line.seen(meter.seen) end
  return "{" .. table.concat(members, ",") .. "}"
end

return answer
