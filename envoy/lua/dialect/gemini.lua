-- The members of a request to Gemini's generateContent, and those that make it more expensive. Its readers accept each
-- name in camel case and in snake case.

local shape = require("dialect/shape")
local found = require("dialect/found")
local media = require("dialect/media")
local value = require("dialect/value")

local gemini = {}

local find = string.find

local BASE_TIERS = { standard = true, flex = true, unspecified = true, SERVICE_TIER_UNSPECIFIED = true }
local TEXT_ONLY = { TEXT = true, text = true }
-- Entries of `tools` that the provider runs itself.
local SERVER_TOOLS = {
  "googleSearch", "googleSearchRetrieval", "googleMaps", "urlContext", "codeExecution", "fileSearch",
  "enterpriseWebSearch", "retrieval", "mcpServers",
}
-- Other models, and spoken answers.
local OPTIONS = { "routingConfig", "modelSelectionConfig", "modelConfig", "speechConfig" }

local function blob()
  return shape.object({ plain = "mimeType data displayName", both_cases = true })
end

local function note_media(part, text, self)
  local inline = shape.inner(part, "inlineData")
  if inline then
    local kind = shape.text(inline, text, "mimeType") or ""
    local first, last = shape.span(inline, text, "data")
    if first and find(kind, "^image/") then
      media.note_picture(self, text, first, last, kind)
    elseif first and find(kind, "^audio/") then
      media.note_recording(self, text, first, last)
    else
      self.features.files = true
      self.features[find(kind, "^video/") and "video" or "documents"] = true
    end
  elseif shape.span(part, text, "inlineData") then
    self.features.files = true
  end
  if shape.span(part, text, "fileData") then self.features.files, self.features.stored_input = true, true end
end

local function settle_part(part, text, self)
  note_media(part, text, self)
  for _, name in ipairs({ "toolCall", "toolResponse" }) do
    if shape.span(part, text, name) then self.features.stored_input = true end
  end
end

-- A node for a content, which several tables have.
function gemini.content()
  local inner = shape.object({
    plain = "text fileData",
    objects = { inlineData = blob() },
    both_cases = true,
    settle = note_media,
  })
  local part = shape.object({
    plain = [[text thought thoughtSignature functionCall executableCode codeExecutionResult fileData videoMetadata
      mediaResolution partMetadata toolCall toolResponse]],
    objects = {
      inlineData = blob(),
      functionResponse = shape.object({
        plain = "id name response willContinue scheduling", lists = { parts = inner }, both_cases = true,
      }),
    },
    both_cases = true,
    settle = settle_part,
  })
  return shape.object({ plain = "role", lists = { parts = part }, both_cases = true })
end

local function settle_tool(tool, text, self)
  for _, name in ipairs(SERVER_TOOLS) do
    if shape.span(tool, text, name) then
      self.features.server_tools = true
      self.option("tools." .. name)
    end
  end
end

local generation = shape.object({
  plain = [[maxOutputTokens candidateCount temperature topP topK seed stopSequences presencePenalty frequencyPenalty
    responseMimeType responseSchema responseJsonSchema responseModalities responseLogprobs logprobs speechConfig
    mediaResolution audioTimestamp imageConfig enableEnhancedCivicAnswers enableAffectiveDialog routingConfig
    modelSelectionConfig modelConfig]],
  objects = {
    thinkingConfig = shape.object({ plain = "includeThoughts thinkingBudget thinkingLevel", both_cases = true }),
  },
  both_cases = true,
})

gemini.body = shape.table({
  plain = "model cachedContent toolConfig safetySettings labels store serviceTier",
  objects = { generationConfig = generation },
  lists = {
    contents = gemini.content(),
    systemInstruction = gemini.content(),
    tools = shape.object({
      plain = [[functionDeclarations computerUse googleSearch googleSearchRetrieval googleMaps urlContext codeExecution
        fileSearch enterpriseWebSearch retrieval mcpServers]],
      both_cases = true,
      settle = settle_tool,
    }),
  },
  both_cases = true,
})

gemini.conversation = { "systemInstruction", "contents" }

-- Fills `request` from the body. It has the model and the stream already, from the path.
function gemini.read(body, text, request, self)
  if shape.span(body, text, "model") then value.refuse("The model is named in the path, not in the body.", "model") end

  local features = self.features
  local config = value.object(body, text, "generationConfig")
  if config then
    request.max_output_tokens = value.count(config, text, "maxOutputTokens", 1)
    request.choices = value.count(config, text, "candidateCount", 1)
    for _, name in ipairs({ "responseSchema", "responseMimeType", "responseJsonSchema" }) do
      if shape.span(config, text, name) then features.response_format = true end
    end
    local thinking = value.object(config, text, "thinkingConfig")
    features.thinking = thinking ~= nil
    request.thinking_tokens = thinking and value.budget(thinking, text, "thinkingBudget")
    found.note_words(self, config, text, "responseModalities", TEXT_ONLY)
    found.note_given(self, config, text, OPTIONS)
  end
  features.tools = shape.filled(body, text, "tools")
  if shape.span(body, text, "cachedContent") then features.stored_input = true end
  found.note_word(self, body, text, "serviceTier", BASE_TIERS)
end

return gemini
