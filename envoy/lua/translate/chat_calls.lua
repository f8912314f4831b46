-- Tells the calls of tools in a Chat stream apart. Some servers leave out the number of a call, and some give all calls
-- the same one; both send each call with its id and name.

local expect = require("translate/expect")

local chat_calls = {}

function chat_calls.new()
  -- The piece that began the latest call, and what has begun, by number and id.
  return { latest = nil, begun = {} }
end

local function goes_on(latest, call, name)
  if name and call.id and call.id ~= latest.id then return false end
  return call.index == nil or call.index == latest.index
end

-- Whether a call begins with this piece. `called` is its function; `is_open` says whether the latest call may go on.
-- Also returns the function's name.
function chat_calls.begins(state, call, called, is_open)
  local name = called.name ~= '""' and called.name or nil
  if is_open and goes_on(state.latest, call, name) then return false, name end
  local key = call.id and (call.index or "") .. call.id
  -- A call that has ended cannot go on.
  if not key or state.begun[key] then expect.refuse("The parts of two calls come mixed.") end
  state.begun[key], state.latest = true, call
  return true, name
end

return chat_calls
