-- Passes the body of an answer on, piece by piece.

local pieces = {}

-- Calls `change(bytes)` for each piece as it comes, and once with "" at the end; the client gets what it returns.
-- `change` must not raise: what comes after an error would pass as it is.
--
-- Over HTTP/1.1 the end is a piece of its own. A body that was held while its head was, or that comes over HTTP/2, may
-- end with its last bytes instead. Then the script goes on without a wait, so that piece can still be changed.
function pieces.each(handle, change)
  local last, sent, has_ended
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    local bytes = length > 0 and chunk:getBytes(0, length) or ""
    last, sent, has_ended = chunk, change(bytes), length == 0
    if sent ~= bytes then chunk:setBytes(sent) end
  end
  if has_ended then return end
  local rest = change("")
  -- Behind trailers nothing can be added.
  if last and rest ~= "" then pcall(last.setBytes, last, sent .. rest) end
end

return pieces
