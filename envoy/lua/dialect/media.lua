-- What is in a part that is not text. Base64 is left out of the text only where the provider decodes it as an image, of
-- which one has a bound whatever its bytes are; anywhere else the same bytes may be read as text.

-- LuaJIT's own libraries, which Envoy's Lua has.
local ffi, bit = require("ffi"), require("bit")

local media = {}

local band = bit.band
local byte, find, gsub, match, sub = string.byte, string.find, string.gsub, string.match, string.sub

local BACKSLASH, SLASH, EQUALS = 92, 47, 61
-- Longer than any beginning of a URL that matters here.
local HEAD_BYTES = 64
-- Pictures of dots. An SVG is a text, which a provider could read as one.
local PICTURES = {
  ["image/png"] = true, ["image/jpeg"] = true, ["image/jpg"] = true, ["image/gif"] = true, ["image/webp"] = true,
  ["image/heic"] = true, ["image/heif"] = true, ["image/avif"] = true, ["image/bmp"] = true, ["image/tiff"] = true,
}

-- 1 for each byte of the two alphabets of base64.
local ALPHABET = ffi.new("uint8_t[256]")
for letter in string.gmatch("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_", ".") do
  ALPHABET[byte(letter)] = 1
end

-- The position after the letters of base64 that begin at `at`, eight of them in a step.
local function letters_end(bytes, at, stop)
  while stop - at >= 8 and band(
    band(band(ALPHABET[bytes[at]], ALPHABET[bytes[at + 1]]), band(ALPHABET[bytes[at + 2]], ALPHABET[bytes[at + 3]])),
    band(band(ALPHABET[bytes[at + 4]], ALPHABET[bytes[at + 5]]), band(ALPHABET[bytes[at + 6]], ALPHABET[bytes[at + 7]]))
  ) == 1 do
    at = at + 8
  end
  return at
end

-- Whether the bytes `first` to `last` of a string are base64 and nothing else. Some writers of JSON escape each slash.
function media.is_base64(text, first, last)
  local bytes = ffi.cast("const uint8_t *", text)
  local stop = last
  local at = letters_end(bytes, first - 1, stop)
  while at < stop do
    local code = bytes[at]
    if ALPHABET[code] == 1 then
      at = at + 1
    elseif code == BACKSLASH and stop - at >= 2 and bytes[at + 1] == SLASH then
      at = letters_end(bytes, at + 2, stop)
    elseif code == EQUALS then
      return stop - at == 1 or (stop - at == 2 and bytes[at + 1] == EQUALS)
    else
      return false
    end
  end
  return true
end

-- Whether a media type is one of pictures.
function media.is_picture(kind)
  return PICTURES[kind] == true
end

-- Notes an image in base64 whose string stands from `first` to `last`, quotes included; `kind` is its media type.
function media.note_picture(found, text, first, last, kind)
  found.images = found.images + 1
  found.features.images = true
  if media.is_picture(kind) and media.is_base64(text, first + 1, last - 1) then
    found.image_bytes = found.image_bytes + last - first - 1
  end
end

-- Notes a recording in base64. Where it is none it may be a place from which the provider fetches one.
function media.note_recording(found, text, first, last)
  found.features.audio = true
  if media.is_base64(text, first + 1, last - 1) then
    found.audio_bytes = found.audio_bytes + last - first - 1
  else
    found.features.files = true
  end
end

-- Notes an image that a URL names or holds; the URL's string stands from `first` to `last`, quotes included.
function media.note_image_url(found, text, first, last)
  found.images = found.images + 1
  found.features.images = true
  local head = gsub(sub(text, first + 1, math.min(first + HEAD_BYTES, last - 1)), "\\/", "/")
  if find(head, "^https?://") then return end
  local kind = match(head, "^data:([%w/.+-]+);base64,")
  if not kind then
    -- A place that only the provider knows, or data that it may read as something else.
    found.features.files = true
    return
  end
  local payload = find(text, ",", first, true) + 1
  if not media.is_picture(kind) then
    found.features.files = true
  elseif media.is_base64(text, payload, last - 1) then
    found.image_bytes = found.image_bytes + last - payload
  end
end

return media
