-- Removes credentials from the text of an error: the provider's own, whole or in part, and anything that looks like a
-- key.

local mask = {}

local find, gsub, sub = string.find, string.gsub, string.sub
local HIDDEN = "***"
-- A shorter part of a credential reveals too little, and would match innocent words.
local PART_BYTES = 8
-- So does a longer part that consists of words, as in placeholders ("key-of-anthropic"), up to this length.
local WORD_BYTES = 16
-- During a rotation, answers to requests with the previous credential are still under way.
local REMEMBERED = 4
-- Prefixes of vendors' keys, and of ours. All keys are longer than 20 characters.
local BEGINNINGS = {
  "sk%-", "spg_", "spa_", "AIza", "gsk_", "xai%-", "hf_", "r8_", "pplx%-", "nvapi%-", "ABSK", "AKIA", "eyJ",
}
local KEY_BYTES_MIN = 20

-- All pieces of `PART_BYTES` bytes of a credential. A shorter one is a single piece.
local function pieces_of(secret)
  local size = math.min(PART_BYTES, #secret)
  local pieces = {}
  for at = 1, #secret - size + 1 do pieces[sub(secret, at, at + size - 1)] = true end
  return { secret = secret, size = size, pieces = pieces }
end

-- Adds the value of a credential header to `known`, the newest first. A scheme ("Bearer ") is not part of the secret.
function mask.remember(known, value)
  local newest = known[1]
  if newest and newest.value == value then return end
  local secret = gsub(value, "^%a+ +", "")
  if secret == "" then return end
  local entry = pieces_of(secret)
  entry.value = value
  table.insert(known, 1, entry)
  known[REMEMBERED + 1] = nil
end

-- Whether the bytes `first` to `last` of `text`, which consist of pieces of `credential`, may be there by chance.
local function is_innocent(text, first, last, credential)
  if credential.size < PART_BYTES then
    -- A whole credential this short is a word, and is hidden only where it is a word of its own.
    return find(sub(text, first - 1, first - 1), "%w") or find(sub(text, last + 1, last + 1), "%w")
  end
  local size = last - first + 1
  if size >= WORD_BYTES or size >= #credential.secret then return false end
  local run = sub(text, first, last)
  if not find(run, "[^%l]") then return true end
  -- "anthropic-" in "anthropic-version" is part of another word; "...-real-key" is the end of a key.
  return not find(run, "[^%l%-_]") and find(sub(text, first - 1, first - 1) .. sub(text, last + 1, last + 1), "[%w%-_]")
end

-- Returns `text` without the longest runs made of pieces of `credential`.
local function without(text, credential)
  local size, pieces = credential.size, credential.pieces
  local parts, from, at = {}, 1, 1
  local last_start = #text - size + 1
  while at <= last_start do
    if pieces[sub(text, at, at + size - 1)] then
      local last = at + size - 1
      while last < #text and pieces[sub(text, last - size + 2, last + 1)] do last = last + 1 end
      if is_innocent(text, at, last, credential) then
        -- A piece that begins within it may end beyond it.
        at = at + 1
      else
        parts[#parts + 1] = sub(text, from, at - 1)
        parts[#parts + 1] = HIDDEN
        from, at = last + 1, last + 1
      end
    else
      at = at + 1
    end
  end
  if from == 1 then return text end
  parts[#parts + 1] = sub(text, from)
  return table.concat(parts)
end

local function hide_key(word)
  if #word < KEY_BYTES_MIN then return nil end
  for _, beginning in ipairs(BEGINNINGS) do
    local at = find(word, "%f[%w]" .. beginning)
    if at and #word - at + 1 >= KEY_BYTES_MIN then return sub(word, 1, at - 1) .. HIDDEN end
  end
  return nil
end

local function hide_bearer(scheme, word)
  return #word >= KEY_BYTES_MIN and scheme .. HIDDEN or nil
end

-- Returns `text` in the form that a client may read.
function mask.text(known, text)
  for _, credential in ipairs(known) do text = without(text, credential) end
  text = gsub(text, "([Bb]earer +)([%w%-_.~+/=]+)", hide_bearer)
  return (gsub(text, "[%w%-_.]+", hide_key))
end

return mask
