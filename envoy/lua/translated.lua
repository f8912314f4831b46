-- Gives a client an answer that its provider wrote in another dialect. Whatever fails, nothing of that dialect passes.

local answers = require("translate/answers")
local pieces = require("pieces")

local translated = {}

local find, format = string.find, string.format

local function log(handle, problem)
  handle:logErr("translated: " .. tostring(problem))
end

-- Puts `body` in place of the answer. Waits for all of the answer.
local function replace(handle, body, status)
  local buffer = handle:body(true)
  local headers = handle:headers()
  if status then headers:replace(":status", status) end
  headers:replace("content-type", "application/json")
  headers:replace("content-length", format("%.0f", #body))
  headers:remove("content-encoding")
  headers:remove("transfer-encoding")
  buffer:setBytes(body)
end

local function whole(handle, call, observe)
  if call.stream then error("it is no stream of events", 0) end
  local headers = handle:headers()
  if (headers:get("content-encoding") or "identity") ~= "identity" then error("it is compressed", 0) end
  local buffer = handle:body(true)
  local text = buffer:getBytes(0, buffer:length())
  if text ~= "" then observe(text) end
  observe("")
  local body, problem = answers.whole(text, call)
  if not body then error(problem, 0) end
  replace(handle, body)
end

local function deliver_whole(handle, call, observe)
  local done, problem = pcall(whole, handle, call, observe)
  if done then return end
  log(handle, problem)
  local withheld, worse = pcall(replace, handle, answers.unreadable(call), "502")
  if not withheld then log(handle, worse) end
end

-- One piece of a stream, in the client's dialect. An empty one is its end.
local function piece(stream, bytes, observe)
  observe(bytes)
  if bytes == "" then return answers.finish(stream) end
  return answers.feed(stream, bytes)
end

-- What the client gets after an error of the script.
local function broken(stream)
  local done, sent = pcall(answers.break_off, stream)
  return done and sent or ""
end

local function deliver_stream(handle, call, observe)
  local stream = answers.stream(call)
  local headers = handle:headers()
  headers:remove("content-length")
  -- A compressed stream cannot be read, and what its client is told of that is not compressed.
  headers:remove("content-encoding")
  pieces.each(handle, function(bytes)
    local done, sent = pcall(piece, stream, bytes, observe)
    if not done then
      stream.problem = sent
      sent = broken(stream)
    end
    if stream.problem then
      pcall(log, handle, stream.problem)
      stream.problem = nil
    end
    return sent
  end)
end

-- Delivers the answer to the attempt `made`. `observe(bytes)` sees all of it as the provider wrote it, and "" at its
-- end.
function translated.deliver(handle, made, observe)
  local call = {
    client = made.client,
    direction = made.direction,
    stream = made.stream,
    now = os.time(),
    forced = made.forced,
    include_usage = made.include_usage,
    repeated = made.repeated,
    keeps_thoughts = made.keeps_thoughts,
    request_id = made.request_id,
  }
  local kind = handle:headers():get("content-type") or ""
  if made.stream and find(kind, "^text/event%-stream") then
    deliver_stream(handle, call, observe)
  else
    deliver_whole(handle, call, observe)
  end
end

return translated
