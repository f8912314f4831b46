-- Passes things from a request to its own answer. In Lua the two share only metadata, which holds plain values and can
-- be logged. So the metadata holds a number, by which the answer finds the rest.

local pending = {}

-- Things of requests under way. Each lives as long as the coroutine of its request, which Envoy keeps for the life of
-- the request. If the client leaves, they are collected together.
function pending.new()
  local of_request = setmetatable({}, { __mode = "k" })
  local by_number = setmetatable({}, { __mode = "v" })
  local last_number = 0
  local things = {}

  -- Keeps `thing` for the current request. Returns the number to find it by.
  function things.keep(thing)
    last_number = last_number + 1
    of_request[coroutine.running()], by_number[last_number] = thing, thing
    return last_number
  end

  -- Returns the kept thing; nil if it is gone or `number` is nil.
  function things.find(number)
    return number and by_number[number]
  end

  function things.is_empty()
    return next(by_number) == nil
  end

  return things
end

return pending
