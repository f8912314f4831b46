-- Lets bodies come before their key has been looked at: small ones while there is room for them, and those of a key
-- that was good a moment ago. All others wait in front of the filter `gate`, which shows quota their key first: what
-- this script does not excuse is asked. Keys of the metadata: GateKey and AdmissionKey in
-- services/kernel/envoy_contract.py.

local good_keys = require("good_keys")
local pending = require("pending")
local refusal = require("refusal")
local waiting = require("waiting")

local GATE, ADMISSION = "spendgate.gate", "envoy.filters.http.ext_authz"
-- The largest body that comes unasked. Most calls are smaller, and are spared a question.
local BODY_BYTES_MAX = 32768
-- What may stand around a body: the head of its request, and what Envoy keeps about it.
local HEAD_BYTES = 65536
-- What all who send slowly can make one worker hold, with a key or without. The next ones are asked.
local ROOM_BYTES = 16777216
-- How long a key counts as good after a call of it was admitted, and how many do. Of one that was revoked meanwhile
-- each worker takes in one more body: the first refusal forgets it.
local KEYS_MAX, LIFE_S = 256, 30

local room = waiting.room(ROOM_BYTES)
local memory = good_keys.memory(KEYS_MAX, LIFE_S)
-- What requests with large bodies showed, and when, until their answers say whether it was good.
local asked_about = pending.new()

-- What gives the room back when the body is there; nil for a request that is to be asked about.
local function take_room(headers)
  local bytes = waiting.announced(headers)
  if not bytes or bytes > BODY_BYTES_MAX then return nil end
  return room.take(bytes + HEAD_BYTES)
end

-- A large body comes on the route that quota's answer would have opened.
local function let_large_in(handle, shown)
  local now_s = os.time()
  local holder = memory.holder(shown, now_s)
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set(GATE, "shown", asked_about.keep({ shown = shown, at_s = now_s }))
  if not holder then return end
  metadata:set(GATE, "unasked", true)
  metadata:set(ADMISSION, "holder", holder)
  handle:clearRouteCache()
end

local function let_in(handle)
  local headers = handle:headers()
  -- Whoever shows no key at all is told so before the body comes, however small it is.
  local shown = good_keys.shown(headers)
  if not shown then return end
  local give_back = take_room(headers)
  if not give_back then return let_large_in(handle, shown) end
  handle:streamInfo():dynamicMetadata():set(GATE, "unasked", true)
  handle:body(true)
  give_back()
end

function envoy_on_request(handle)
  local done, problem = pcall(let_in, handle)
  if done then return end
  handle:logErr("small_bodies: " .. tostring(problem))
  refusal.answer_unreadable(handle)
end

-- Only a call that quota admitted was of a good key.
local function learn(handle)
  if asked_about.is_empty() then return end
  local metadata = handle:streamInfo():dynamicMetadata()
  local gate = metadata:get(GATE)
  local asked = gate and asked_about.find(gate["shown"])
  if not asked then return end
  local admission = metadata:get(ADMISSION)
  local key_id = admission and admission["key_id"]
  if key_id then
    memory.note(asked.shown, key_id, asked.at_s)
  else
    memory.forget(asked.shown)
  end
end

function envoy_on_response(handle)
  -- Should it fail, the next call is asked about.
  pcall(learn, handle)
end
