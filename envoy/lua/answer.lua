-- Takes the usage chunk out of an OpenAI stream that the client did not ask for, and the `"usage":null` that the
-- provider puts into every other chunk for its sake. Everything else passes byte for byte and at once; only an event
-- that has not arrived whole is held back. An error here costs the client a chunk too many, never its answer.
--
-- And holds the closing `data: [DONE]` until the stream has ended: OpenAI's SDK hangs up when it reads that, and a
-- usage that the meter has not finished by then would be lost.

local json = require("json")

local ATTEMPT = "spendgate.attempt"
local REQUEST = "spendgate.request"
-- An event longer than this passes as it is: no usage chunk is as long.
local EVENT_BYTES_MAX = 65536
-- Enough to recognise the end of an event that is split.
local DELIMITER_BYTES_MAX = 4

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
  if stream.passing then return event end
  if find(event, "^data: ?%[DONE%]") then
    stream.closing = stream.closing .. event
    return ""
  end
  return stream.strip and strip_event(event) or event
end

-- What to send for `bytes`, now that they arrived. Pure but for `stream`, for the tests.
function feed(stream, bytes)
  local text = stream.held .. bytes
  local sent, from = {}, 1
  while true do
    local _, delimiter = find(text, "\n\r?\n", from)
    if not delimiter then break end
    local event = sub(text, from, delimiter)
    sent[#sent + 1] = pass(stream, event)
    stream.passing = false
    from = delimiter + 1
  end
  local rest = #text - from + 1
  if rest > EVENT_BYTES_MAX or (stream.passing and rest > DELIMITER_BYTES_MAX) then
    stream.passing = true
    sent[#sent + 1] = sub(text, from, #text - DELIMITER_BYTES_MAX)
    from = #text - DELIMITER_BYTES_MAX + 1
  end
  stream.held = sub(text, from)
  return table.concat(sent)
end

-- What is left when no more bytes come: it was never a whole event, or the one that had to wait.
function finish(stream)
  local rest = stream.closing .. stream.held
  stream.closing, stream.held = "", ""
  return rest
end

-- Whether the answer is an OpenAI stream, and whether usage is to be taken out of it.
local function wanted(handle)
  local metadata = handle:streamInfo():dynamicMetadata()
  local attempt, request = metadata:get(ATTEMPT), metadata:get(REQUEST)
  if not (attempt and request and request.dialect == "openai") then return false end
  local is_stream = find(handle:headers():get("content-type") or "", "^text/event%-stream") ~= nil
  return is_stream, attempt.strip_usage == true
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
