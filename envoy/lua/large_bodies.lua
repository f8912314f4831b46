-- Bounds a worker's memory for large bodies, from before their first byte until the answer begins: until then Envoy
-- keeps them for the next attempt. Runs on the routes of requests whose key quota has accepted. Keys of the metadata:
-- GateKey and AdmissionKey in services/kernel/envoy_contract.py.

local pending = require("pending")
local refusal = require("refusal")
local waiting = require("waiting")

local GATE, ADMISSION = "spendgate.gate", "envoy.filters.http.ext_authz"
-- A body of unannounced size may be as large as any.
local UNANNOUNCED_BYTES = 16777216
-- Per worker. There are two copies of a body while it is scanned and sent on.
local ROOM_BYTES = 201326592
-- One key leaves this much to all others.
local HOLDER_BYTES = 100663296
local FULL = "The gateway holds as many large requests as it can. Try again in a moment."

local room = waiting.room(ROOM_BYTES, HOLDER_BYTES)
-- Functions that give back the room of a request.
local shares = pending.new()

local function take_room(handle)
  local bytes = waiting.announced(handle:headers()) or UNANNOUNCED_BYTES
  local admission = handle:streamInfo():dynamicMetadata():get(ADMISSION)
  local holder = admission and admission["holder"]
  local give_back = room.take(bytes, holder)
  if give_back then return give_back end
  -- Clients that left may still be counted. The first round collects their coroutines, the second whatever those held.
  collectgarbage()
  collectgarbage()
  return room.take(bytes, holder)
end

-- Whether there is room for the body. If so, returns once it has arrived.
local function await_body(handle)
  local give_back = take_room(handle)
  if not give_back then return false end
  handle:streamInfo():dynamicMetadata():set(GATE, "number", shares.keep(give_back))
  handle:body(true)
  return true
end

function envoy_on_request(handle)
  local done, fits = pcall(await_body, handle)
  if done and fits then return end
  if done then refusal.answer(handle, refusal.dialect_of_request(handle), 503, "overloaded", FULL) end
  handle:logErr("large_bodies: " .. tostring(fits))
  refusal.answer_unreadable(handle)
end

local function give_back(handle)
  local gate = handle:streamInfo():dynamicMetadata():get(GATE)
  local returned = gate and shares.find(gate["number"])
  if returned then returned() end
end

function envoy_on_response(handle)
  -- A failure here must not cost the client a paid answer. The room comes back at the request's end.
  pcall(give_back, handle)
end
