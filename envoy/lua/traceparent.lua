-- Makes the `traceparent` of an attempt, so that what a provider records hangs below the attempt's span. The ledger
-- writes that span later, with the same id: span_id in services/kernel/trace_context.py.

local traceparent = {}

local byte, format, sub = string.byte, string.format, string.sub
-- Where the text before the span's id ends, and that behind it begins: "00-<32 digits>-<16 digits>-<2 digits>".
local BEFORE, BEHIND = 36, 53

-- `admitted` is the call's place in its trace, as quota says. Nil if nobody records the trace: then the client's own
-- header passes.
function traceparent.of_attempt(admitted, number, request_id)
  -- The last digit of the flags is odd in a trace that is recorded, and so is its character.
  if not admitted or byte(admitted, -1) % 2 == 0 then return nil end
  return sub(admitted, 1, BEFORE) .. format("%04x", number) .. sub(request_id, -12) .. sub(admitted, BEHIND)
end

return traceparent
