-- Handles the body of a provider's error. It is held until it is complete, and then shown without credentials.

local mask = require("mask")

local provider_error = {}

-- A longer error is not shown.
local BYTES_MAX = 16384

-- State for one error. `instead` is shown if it is too long, or unreadable (`readable` is false). `translate` turns its
-- text into one of the client's dialect; nil if it is one already.
function provider_error.new(readable, instead, translate)
  return { held = readable and "" or nil, instead = instead, translate = translate }
end

-- Returns what to send for `bytes`, which are empty at the end. `credentials` are those that `mask.remember` added.
function provider_error.feed(state, bytes, credentials)
  if state.held and bytes == "" then
    local text = mask.text(credentials, state.held)
    return state.translate and state.translate(text) or text
  end
  if state.held and #state.held + #bytes <= BYTES_MAX then
    state.held = state.held .. bytes
    return ""
  end
  local sent = state.instead or ""
  state.held, state.instead = nil, nil
  return sent
end

return provider_error
