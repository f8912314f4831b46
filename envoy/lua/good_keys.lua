-- Remembers keys that quota accepted a moment ago. A request with such a key may send its body at once. It may do
-- nothing more: quota still decides about the call. The memory keeps the whole text of the credentials, because two
-- different ones could share a digest. The text stays in one worker, and nothing logs it.

local contract = require("contract")

local good_keys = {}

local KEY_HEADERS = contract.key_headers
-- Envoy asks quota about longer credentials each time.
local SHOWN_BYTES_MAX = 1024

-- All credentials of a request as one text; nil if it has none or they are too long. No header contains a line feed.
function good_keys.shown(headers)
  local each, any = {}, false
  for index = 1, #KEY_HEADERS do
    local value = headers:get(KEY_HEADERS[index])
    any = any or value ~= nil
    each[index] = value or ""
  end
  local shown = table.concat(each, "\n")
  return any and #shown <= SHOWN_BYTES_MAX and shown or nil
end

-- Remembers at most `keys_max` keys, each for `life_s` seconds after quota was asked.
function good_keys.memory(keys_max, life_s)
  local holders, until_s, count = {}, {}, 0
  local memory = {}

  function memory.forget(shown)
    if holders[shown] then count = count - 1 end
    holders[shown], until_s[shown] = nil, nil
  end

  -- Records that the key of `holder` was valid at `asked_s`.
  function memory.note(shown, holder, asked_s)
    memory.forget(shown)
    -- Forgets all keys at once. Each of them costs one more question to quota.
    if count == keys_max then holders, until_s, count = {}, {}, 0 end
    holders[shown], until_s[shown], count = holder, asked_s + life_s, count + 1
  end

  -- The holder of the key; nil if unknown or expired.
  function memory.holder(shown, now_s)
    if not holders[shown] then return nil end
    if now_s < until_s[shown] then return holders[shown] end
    memory.forget(shown)
    return nil
  end

  return memory
end

return good_keys
