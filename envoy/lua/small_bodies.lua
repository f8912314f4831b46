-- Lets bodies come before their key is checked: small ones while there is room for them, and those of a key that was
-- valid a moment ago. All others wait for the filter `gate`, which shows quota their key first. That filter asks about
-- everything that this script does not excuse. Keys of the metadata: GateKey and AdmissionKey in
-- services/kernel/envoy_contract.py.

local good_keys = require("good_keys")
local pending = require("pending")
local refusal = require("refusal")
local waiting = require("waiting")

local GATE, ADMISSION = "spendgate.gate", "envoy.filters.http.ext_authz"
-- The largest body that may come unasked. Most calls are smaller, and need no question.
local BODY_BYTES_MAX = 32768
-- The overhead of a body: the head of its request, and what Envoy keeps about it.
local HEAD_BYTES = 65536
-- The most that slow senders together can make one worker hold, with or without a key. Quota is asked about the next
-- ones.
local ROOM_BYTES = 16777216
-- How long a key counts as valid after one of its calls was admitted, and how many keys do. If it was revoked
-- meanwhile, each worker accepts one more body, and the first refusal forgets the key.
local KEYS_MAX, LIFE_S = 256, 30

local room = waiting.room(ROOM_BYTES)
local memory = good_keys.memory(KEYS_MAX, LIFE_S)
-- The credentials of requests with large bodies, and when they came, until the answers say whether they were valid.
local asked_about = pending.new()

-- Returns a function that gives the room back once the body has arrived; nil if quota must be asked about the request.
local function take_room(headers)
  local bytes = waiting.announced(headers)
  if not bytes or bytes > BODY_BYTES_MAX then return nil end
  return room.take(bytes + HEAD_BYTES)
end

-- A large body takes the route that quota's answer would have opened.
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
  -- A client without any key is refused before its body comes, however small it is.
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

-- Only a call that quota admitted had a valid key.
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
  -- If it fails, quota is asked about the next call.
  pcall(learn, handle)
end
