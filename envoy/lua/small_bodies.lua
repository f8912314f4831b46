-- Lets small bodies come before their key has been looked at, while there is room for them. All others wait in front of
-- the filter `gate`, which shows quota their key first: what this script does not excuse is asked.
-- Keys of the metadata: GateKey in services/kernel/envoy_contract.py.

local refusal = require("refusal")
local waiting = require("waiting")

local GATE = "spendgate.gate"
-- The largest body that comes unasked. Most calls are smaller, and are spared a question.
local BODY_BYTES_MAX = 32768
-- What may stand around a body: the head of its request, and what Envoy keeps about it.
local HEAD_BYTES = 65536
-- What all who send slowly can make one worker hold, with a key or without. The next ones are asked.
local ROOM_BYTES = 16777216

local room = waiting.room(ROOM_BYTES)

-- Whoever shows no key at all is told so before the body comes, however small it is.
local function shows_key(headers)
  return headers:get("authorization") or headers:get("x-api-key") or headers:get("api-key")
    or headers:get("x-goog-api-key")
end

-- What gives the room back when the body is there; nil for a request that is to be asked about.
local function take_room(headers)
  local bytes = waiting.announced(headers)
  if not bytes or bytes > BODY_BYTES_MAX or not shows_key(headers) then return nil end
  return room.take(bytes + HEAD_BYTES)
end

local function let_in(handle)
  local give_back = take_room(handle:headers())
  if not give_back then return end
  handle:streamInfo():dynamicMetadata():set(GATE, "unasked", true)
  handle:body(true)
  give_back()
end

function envoy_on_request(handle)
  local done, problem = pcall(let_in, handle)
  if done then return end
  handle:logErr("small_bodies: " .. tostring(problem))
  local known, dialect = pcall(refusal.dialect_of_request, handle)
  refusal.answer(handle, known and dialect or "openai", 503, "policy_unavailable",
    "The gateway cannot read this request now.")
end
