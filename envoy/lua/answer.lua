-- Takes the usage chunk out of an OpenAI stream that the client did not ask for, and the `"usage":null` that the
-- provider puts into every other chunk for its sake. Everything else passes byte for byte and at once; only an event
-- that has not arrived whole is held back. An error here costs the client a chunk too many, never its answer.
--
-- And holds the closing `data: [DONE]` until the stream has ended: OpenAI's SDK hangs up when it reads that, and a
-- usage that the meter has not finished by then would be lost.

local json = require("json")

local ATTEMPT = "spendgate.attempt"
-- An event longer than this passes as it is: no usage chunk is as long.
local EVENT_BYTES_MAX = 65536
-- Enough to recognise the end of an event that is split.
local DELIMITER_BYTES_MAX = 4
local NULL_AT_END = ',"usage":null}\n\n'

local find, sub, byte = string.find, string.sub, string.byte

-- `payload` without its member "usage".
local function without_usage(payload, start, last)
  local after = find(payload, "[^ \t\r\n]", last + 1)
  if byte(payload, after) == 44 then return sub(payload, 1, start - 1) .. sub(payload, after + 1) end
  local kept = sub(payload, 1, start - 1):gsub("%s*,%s*$", "")
  return kept .. sub(payload, last + 1)
end

-- One whole event, delimiter included, as the client is to see it. Pure, for the tests.
function strip_event(event)
  if not find(event, '"usage"', 1, true) then return event end
  local from, to = find(event, "^data: ?{[^\n]*}")
  if not from then return event end
  local brace = find(event, "{", 1, true)
  local payload = sub(event, brace, to)
  local first, last, start = json.scan(payload)
  if not first or not first.usage then return event end
  if json.is_null(payload, first.usage, last.usage) then
    return sub(event, 1, brace - 1) .. without_usage(payload, start.usage, last.usage) .. sub(event, to + 1)
  end
  local choices = first.choices and sub(payload, first.choices, last.choices)
  if choices and find(choices, "^%[%s*%]$") then return "" end
  return event
end

-- State between the chunks of one answer: `strip` says whether to take usage out, `held` is the beginning of an event,
-- `passing` says that the event at hand is too long to be looked at, `closing` is the `[DONE]` that waits for the end.
function new_stream(strip)
  return { strip = strip, held = "", passing = false, closing = "" }
end

-- One whole event as the client is to see it now.
local function pass(stream, event)
  if find(event, "^data: ?%[DONE%]") then
    stream.closing = stream.closing .. event
    return ""
  end
  return stream.strip and strip_event(event) or event
end

-- The whole events of `text`, as the client is to see them. Most hold neither usage nor the end: they are found, and
-- passed on, many at a time.
local function pass_all(stream, text)
  local sent, from = {}, 1
  while true do
    local at = find(text, "[DONE]", from, true)
    local usage = stream.strip and find(text, '"usage"', from, true)
    if usage and not (at and at < usage) then at = usage end
    if not at then break end
    -- The usual null, at the end of its event, needs no look at the rest: the brace before an empty line closes the
    -- event's object.
    if at == usage and sub(text, at - 1, at + 14) == NULL_AT_END then
      sent[#sent + 1] = sub(text, from, at - 2)
      from = at + 12
    else
      local before = sub(text, from, at)
      local _, start = find(before, "^.*\n\r?\n")
      start = from + (start or 0)
      local _, last = find(text, "\n\r?\n", at)
      sent[#sent + 1] = sub(text, from, start - 1)
      sent[#sent + 1] = pass(stream, sub(text, start, last))
      from = last + 1
    end
  end
  if from == 1 then return text end
  sent[#sent + 1] = sub(text, from)
  return table.concat(sent)
end

-- How many bytes of `text`, from its start, are whole events.
local function whole_bytes(text)
  if sub(text, -2) == "\n\n" then return #text end
  local _, last = find(text, "^.*\n\r?\n")
  return last or 0
end

-- What to send for `bytes`, now that they arrived. Pure but for `stream`, for the tests.
function feed(stream, bytes)
  local text = stream.held .. bytes
  local sent = ""
  if stream.passing then
    local _, last = find(text, "\n\r?\n")
    if last then
      sent, text = sub(text, 1, last), sub(text, last + 1)
      stream.passing = false
    end
  end
  if not stream.passing then
    local whole = whole_bytes(text)
    sent = sent .. pass_all(stream, sub(text, 1, whole))
    text = sub(text, whole + 1)
  end
  if #text > EVENT_BYTES_MAX or (stream.passing and #text > DELIMITER_BYTES_MAX) then
    stream.passing = true
    sent = sent .. sub(text, 1, #text - DELIMITER_BYTES_MAX)
    text = sub(text, -DELIMITER_BYTES_MAX)
  end
  stream.held = text
  return sent
end

-- What is left when no more bytes come: it was never a whole event, or the one that had to wait.
function finish(stream)
  local rest = stream.closing .. stream.held
  stream.closing, stream.held = "", ""
  return rest
end

-- Whether the answer is a stream of an attempt, and whether usage is to be taken out of it. The routes of the other
-- dialects leave this script out.
local function wanted(handle)
  if not find(handle:headers():get("content-type") or "", "^text/event%-stream") then return false end
  local attempt = handle:streamInfo():dynamicMetadata():get(ATTEMPT)
  return attempt ~= nil, attempt and attempt.strip_usage == true
end

function envoy_on_response(handle)
  local known, is_stream, strip = pcall(wanted, handle)
  if not (known and is_stream) then return end
  handle:headers():remove("content-length")
  local stream, broken = new_stream(strip), false
  for chunk in handle:bodyChunks() do
    if not broken then
      local length = chunk:length()
      -- The end of a stream is a chunk of its own, without bytes.
      local bytes = length > 0 and chunk:getBytes(0, length) or ""
      local held = stream.held
      local done, sent = pcall(feed, stream, bytes)
      if not done then
        handle:logErr("answer: " .. tostring(sent))
        broken, sent = true, stream.closing .. held .. bytes
      elseif length == 0 then
        sent = sent .. finish(stream)
      end
      if sent ~= bytes then chunk:setBytes(sent) end
    end
  end
end
