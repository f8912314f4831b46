-- Examines parts that are not text. Base64 is excluded from the text only where the provider decodes it as an image,
-- because an image is bounded whatever its bytes are. Elsewhere the provider may read the same bytes as text.

-- Libraries of LuaJIT, which Envoy uses.
local ffi, bit = require("ffi"), require("bit")

local media = {}

local band = bit.band
local byte, find, gmatch, gsub = string.byte, string.find, string.gmatch, string.gsub
local match, sub, floor = string.match, string.sub, math.floor

local BACKSLASH, SLASH, EQUALS = 92, 47, 61
-- Longer than any URL prefix that matters here.
local HEAD_BYTES = 64
-- Raster images. An SVG is text, and a provider could read it as text.
local PICTURES = {
  ["image/png"] = true, ["image/jpeg"] = true, ["image/jpg"] = true, ["image/gif"] = true, ["image/webp"] = true,
  ["image/heic"] = true, ["image/heif"] = true, ["image/avif"] = true, ["image/bmp"] = true, ["image/tiff"] = true,
}

-- By two bytes as they lie in memory: 1 where both are letters of the base64 alphabets. One lookup examines two bytes.
-- Of the 64 KiB, base64 touches a tenth, which stays in the processor's first cache.
local PAIRS = ffi.new("uint8_t[65536]")
local LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
for one in gmatch(LETTERS, ".") do
  for other in gmatch(LETTERS, ".") do PAIRS[byte(one) + 256 * byte(other)] = 1 end
end

-- The position after the base64 letters that begin at `at`, in steps of 16 letters.
local function letters_end(bytes, at, stop)
  local two = ffi.cast("const uint16_t *", bytes + at)
  local whole = floor((stop - at) / 16) * 8
  for index = 0, whole - 8, 8 do
    if band(
      band(band(PAIRS[two[index]], PAIRS[two[index + 1]]), band(PAIRS[two[index + 2]], PAIRS[two[index + 3]])),
      band(band(PAIRS[two[index + 4]], PAIRS[two[index + 5]]), band(PAIRS[two[index + 6]], PAIRS[two[index + 7]]))
    ) == 0 then return at + 2 * index end
  end
  return at + 2 * whole
end

-- Whether bytes `first` to `last` of a string are pure base64. Some JSON writers escape each slash.
function media.is_base64(text, first, last)
  local bytes = ffi.cast("const uint8_t *", text)
  local stop = last
  local at = letters_end(bytes, first - 1, stop)
  while at < stop do
    local code = bytes[at]
    if PAIRS[257 * code] == 1 then
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

-- Whether a media type is a raster image.
function media.is_picture(kind)
  return PICTURES[kind] == true
end

-- Records a base64 image whose string spans `first` to `last`, including quotes. `kind` is its media type. If that is
-- not a raster image, the gateway does not know how the provider reads it.
function media.note_picture(found, text, first, last, kind)
  found.images = found.images + 1
  found.features.images = true
  if not media.is_picture(kind) then
    found.features.files = true
  elseif media.is_base64(text, first + 1, last - 1) then
    found.image_bytes = found.image_bytes + last - first - 1
  end
end

-- Records a base64 sound recording. Other text may be an address that the provider fetches one from.
function media.note_recording(found, text, first, last)
  found.features.audio = true
  if media.is_base64(text, first + 1, last - 1) then
    found.audio_bytes = found.audio_bytes + last - first - 1
  else
    found.features.files = true
  end
end

-- Records an image that a URL names or holds. The URL's string spans `first` to `last`, including quotes.
function media.note_image_url(found, text, first, last)
  found.images = found.images + 1
  found.features.images = true
  local head = gsub(sub(text, first + 1, math.min(first + HEAD_BYTES, last - 1)), "\\/", "/")
  if find(head, "^https?://") then return end
  local kind = match(head, "^data:([%w/.+-]+);base64,")
  if not kind then
    -- An address that only the provider knows, or data that it may read as something else.
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
