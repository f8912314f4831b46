-- What a request leaves for its own answer. Lua shares nothing between the two but metadata, which holds plain values
-- and can be logged: so it holds a number, by which the answer finds the rest.

local pending = {}

-- Things of requests that are under way. Each lives as long as the coroutine of its request, which Envoy keeps for as
-- long as the request lives; what a client leaves behind that goes away is collected with it.
function pending.new()
  local of_request = setmetatable({}, { __mode = "k" })
  local by_number = setmetatable({}, { __mode = "v" })
  local last_number = 0
  local things = {}

  -- Keeps `thing` for the request that is being handled: the number to find it by.
  function things.keep(thing)
    last_number = last_number + 1
    of_request[coroutine.running()], by_number[last_number] = thing, thing
    return last_number
  end

  -- What was kept; nil when it is gone, or `number` is nil.
  function things.find(number)
    return number and by_number[number]
  end

  function things.is_empty()
    return next(by_number) == nil
  end

  return things
end

return pending
