-- What becomes of the body of a provider's error: it is held until it is whole, and then shown without credentials.

local mask = require("mask")

local provider_error = {}

-- A longer one is not shown.
local BYTES_MAX = 16384

-- State for one error. `instead` is shown when it is too long, or when it cannot be read at all (`readable` is false).
function provider_error.new(readable, instead)
  return { held = readable and "" or nil, instead = instead }
end

-- What to send for `bytes`, which are empty at the end. `credentials` are those that `mask.remember` noted.
function provider_error.feed(state, bytes, credentials)
  if state.held and bytes == "" then return mask.text(credentials, state.held) end
  if state.held and #state.held + #bytes <= BYTES_MAX then
    state.held = state.held .. bytes
    return ""
  end
  local sent = state.instead or ""
  state.held, state.instead = nil, nil
  return sent
end

return provider_error
