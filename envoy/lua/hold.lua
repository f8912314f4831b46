-- Holds the head of a stream until `target` knows its opening. Then an answer that fails before its first content can
-- become an error, and the next target is tried. envoy/README.md explains how: Envoy holds a head during a call, and
-- goes on holding it if the script then waits for a piece of the body.

local ATTEMPT = "spendgate.attempt"
-- A call that ends at once: nobody listens there.
local NOBODY = "nobody"
local REQUEST = { [":method"] = "GET", [":path"] = "/", [":authority"] = NOBODY }
local WAIT_MS = 1000
-- More than `opening` takes pieces.
local ROUNDS_MAX = 40

-- The status that `target` gives to the opening of this attempt; nil while it knows none.
local function verdict(handle)
  local attempt = handle:streamInfo():dynamicMetadata():get(ATTEMPT)
  local opening = attempt.opening
  return opening and opening.number == attempt.made.number and opening.status or nil
end

local function is_held(handle)
  local map = handle:headers()
  if map:get(":status") ~= "200" or not string.find(map:get("content-type") or "", "event-stream", 1, true) then
    return false
  end
  local attempt = handle:streamInfo():dynamicMetadata():get(ATTEMPT)
  return attempt ~= nil and attempt.made.is_held == true
end

local function hold(handle)
  if not is_held(handle) then return end
  -- Before the body comes: Envoy refuses afterwards.
  local next_piece = handle:bodyChunks()
  local status, piece
  for _ = 1, ROUNDS_MAX do
    handle:httpCall(NOBODY, REQUEST, "", WAIT_MS)
    status = verdict(handle)
    if not status then
      piece = next_piece()
      status = verdict(handle)
    end
    if status or not piece then break end
  end
  if status and status ~= 200 then handle:headers():replace(":status", tostring(status)) end
end

function envoy_on_response(handle)
  local done, problem = pcall(hold, handle)
  if not done then handle:logErr("hold: " .. tostring(problem)) end
end
