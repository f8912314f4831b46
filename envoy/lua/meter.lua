-- Reads the usage in an answer as it passes, and publishes each figure as soon as it is known. So the log line of an
-- answer that ends early has the latest figures. Removes usage that a client of OpenAI's dialect did not ask for, and
-- tells the client of a stream that broke. An error here costs the client nothing: the rest passes untouched, and the
-- line says `meter: failed`.

local answer = require("meter/answer")
local pieces = require("pieces")
local translated = require("translated")
local usage_line = require("usage_line")

local ATTEMPT, USAGE = "spendgate.attempt", "spendgate.usage"

local find, lower, match, sub = string.find, string.lower, string.match, string.sub

-- One text, because a value for each figure would cost Envoy much more, here and in its log.
local function publish(handle, line)
  handle:streamInfo():dynamicMetadata():set(USAGE, "line", line)
end

-- `meter` is nil if it could not even begin. Figures that it had published stay on the line.
local function fail(handle, problem, meter)
  handle:logErr("meter: " .. tostring(problem))
  if meter then meter.published.meter = "failed" end
  publish(handle, meter and answer.line(meter) or usage_line.state("failed"))
end

-- The last attempt; nil if none was made. Names it to the client, whoever answered it: a provider, or Envoy in its
-- place.
local function name_attempt(handle)
  local headers = handle:headers()
  local attempt = handle:streamInfo():dynamicMetadata():get(ATTEMPT)
  if not attempt then return nil end
  local made = attempt.made
  headers:replace("x-spendgate-model-served", made.target)
  if made.downgraded then headers:replace("x-spendgate-downgraded", made.downgraded) end
  if made.ignored then headers:replace("x-spendgate-ignored", made.ignored) end
  return made
end

-- The meter for the answer to this attempt; nil if its kind carries no usage.
local function begin(handle, made)
  local headers = handle:headers()
  local kind = lower(headers:get("content-type") or "")
  local is_stream = find(kind, "^text/event%-stream") ~= nil
  if not (is_stream or find(kind, "json", 1, true)) then return nil end
  local encoding = headers:get("content-encoding")
  if encoding and encoding ~= "identity" then
    publish(handle, usage_line.state("encoded"))
    return nil
  end
  local stripping = is_stream and made.dialect == "openai" and made.strip_usage == true
  local client = is_stream and sub(headers:get(":status"), 1, 1) == "2" and {
    dialect = made.dialect,
    provider = match(made.target, "^[^/]+"),
    choices = made.choices or 1,
  } or nil
  if stripping or client then headers:remove("content-length") end
  return answer.new(made.meter or made.dialect, is_stream, stripping, client)
end

-- Handles one piece of the body. Its figures are published before it is passed on, because clients hang up at `[DONE]`.
local function pass(handle, meter, bytes)
  local sent = #bytes > 0 and answer.take(meter, bytes) or answer.finish(meter)
  if answer.news(meter) then publish(handle, answer.line(meter)) end
  -- For the router, which judges the health of targets.
  if answer.is_broken(meter) and not meter.told then
    meter.told = true
    handle:streamInfo():dynamicMetadata():set(USAGE, "broken", true)
  end
  return sent
end

-- Whether the answer is good, and in another dialect than its client's. Errors are translated already.
local function is_foreign(handle, made)
  return made.client and sub(handle:headers():get(":status"), 1, 1) == "2"
end

-- Reads the provider's own answer, which the client gets in its own dialect.
local function deliver_translated(handle, made)
  local begun, meter = pcall(answer.new, made.dialect, made.stream, false)
  if not begun then
    pcall(fail, handle, meter, nil)
    meter = nil
  end
  translated.deliver(handle, made, function(bytes)
    if not meter then return end
    local done, problem = pcall(pass, handle, meter, bytes)
    if done then return end
    pcall(fail, handle, problem, meter)
    meter = nil
  end)
end

function envoy_on_response(handle)
  local named, made = pcall(name_attempt, handle)
  if not named then pcall(fail, handle, made, nil) end
  if not named or not made then return end
  if is_foreign(handle, made) then return deliver_translated(handle, made) end
  local begun, meter = pcall(begin, handle, made)
  if not begun then pcall(fail, handle, meter, nil) end
  if not begun or not meter then return end
  pieces.each(handle, function(bytes)
    if not meter then return bytes end
    local held = meter.stream and meter.stream.pieces
    local count = held and #held
    local done, sent = pcall(pass, handle, meter, bytes)
    if done then return sent end
    pcall(fail, handle, sent, meter)
    sent = (meter.stream and meter.stream.holds) and table.concat(held, "", 1, count) .. bytes or bytes
    meter = nil
    return sent
  end)
end
