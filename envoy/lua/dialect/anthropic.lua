-- The members of a request to Anthropic's messages, and those that make it more expensive.

local shape = require("dialect/shape")
local found = require("dialect/found")
local media = require("dialect/media")
local value = require("dialect/value")

local anthropic = {}

local gsub = string.gsub

-- Content blocks of these types are text to the last byte.
local TEXT_BLOCKS = {
  text = true, thinking = true, redacted_thinking = true, tool_use = true, tool_result = true, server_tool_use = true,
  mcp_tool_use = true, search_result = true, image = true,
}
-- The provider keeps or packs a part of these: results of its own tools, and files.
local STORED_BLOCKS = { container_upload = true, tool_reference = true, compaction = true }
for _, name in ipairs({
  "web_search", "web_fetch", "code_execution", "bash_code_execution", "text_editor_code_execution", "tool_search",
  "mcp",
}) do
  STORED_BLOCKS[name .. "_tool_result"] = true
  STORED_BLOCKS[name .. "_tool_result_error"] = true
  STORED_BLOCKS[name .. "_result"] = true
end
-- Tools that the client runs, without their date.
local CLIENT_TOOLS = { custom = true, bash = true, text_editor = true, computer = true, memory = true }
local BASE_TIERS = { auto = true, standard_only = true, standard = true, default = true }
local BASE_SPEED = { standard = true }
local BASE_GEOS = { global = true }
-- These edits only remove content.
local CLEARING_EDITS = { clear_tool_uses_20250919 = true, clear_thinking_20251015 = true }
local OPTIONS = { "mcp_servers", "anthropic_beta", "betas", "fallbacks" }

local function source()
  return shape.object({ plain = "type media_type data url file_id content" })
end

local function note_image(block, text, self)
  local from = shape.inner(block, "source")
  local kind = from and shape.text(from, text, "type")
  local first, last
  if kind == "base64" then
    first, last = shape.span(from, text, "data")
    if first then return media.note_picture(self, text, first, last, shape.text(from, text, "media_type")) end
  elseif kind == "url" then
    first, last = shape.span(from, text, "url")
    if first then return media.note_image_url(self, text, first, last) end
  end
  self.images = self.images + 1
  self.features.images, self.features.stored_input = true, true
end

-- Whether a document is only text within the body. The provider fetches or opens any other document.
local function is_text_document(block, text)
  local from = shape.inner(block, "source")
  if not from or shape.text(from, text, "type") ~= "text" then return false end
  if shape.text(from, text, "media_type") ~= "text/plain" then return false end
  return not (shape.span(from, text, "url") or shape.span(from, text, "file_id") or shape.span(from, text, "content"))
end

local function settle_block(block, text, self)
  local kind = shape.text(block, text, "type")
  if kind == "image" then
    note_image(block, text, self)
  elseif kind == "document" then
    if not is_text_document(block, text) then self.features.files, self.features.documents = true, true end
  elseif STORED_BLOCKS[kind] then
    self.features.stored_input = true
  elseif not TEXT_BLOCKS[kind] then
    -- Also without a type: only its reader knows what it is.
    self.unknown(block, "type=" .. (kind or ""))
  end
  -- A search result's source is text. The provider may keep the source of any other block.
  local from = shape.inner(block, "source")
  if from and shape.span(from, text, "file_id") then self.features.stored_input = true end
end

-- `content` is the node of a block's own content; nil where that is text.
local function block(content)
  return shape.object({
    plain = [[type text citations title context data thinking signature id name input caller tool_use_id is_error
      server_name file_id tool_name url page_age encrypted_content encrypted_stdout retrieved_at error_code
      error_message stdout stderr return_code]] .. (content and "" or " content"),
    objects = { source = source(), cache_control = found.cache_control() },
    lists = { content = content },
    settle = settle_block,
  })
end

-- The content of tool results: their own parts, and those of a search result in them.
local function content()
  return block(block(nil))
end

local function settle_tool(tool, text, self)
  local kind = shape.text(tool, text, "type")
  if not kind and not shape.is_odd(tool, text, "type") then return end
  if CLIENT_TOOLS[gsub(kind or "", "_%d+$", "")] then return end
  self.features.server_tools = true
  local uses = value.count(tool, text, "max_uses", 1)
  self.option("tools." .. shape.shown(kind or ""), uses and string.format("%.0f", uses))
end

local function settle_edit(edit, text, self)
  local kind = shape.text(edit, text, "type")
  if CLEARING_EDITS[kind] then return end
  -- The provider reads the conversation again, to summarize it.
  self.features.server_tools = true
  self.option("context_management", kind or "")
end

local message = shape.object({ plain = "role", lists = { content = content() } })

local tool = shape.object({
  plain = [[type name description input_schema strict defer_loading allowed_callers input_examples eager_input_streaming
    max_uses allowed_domains blocked_domains user_location max_characters max_content_tokens citations
    display_width_px display_height_px display_number enable_zoom]],
  objects = { cache_control = found.cache_control() },
  settle = settle_tool,
})

anthropic.body = shape.table({
  plain = [[model max_tokens stream temperature top_p top_k stop_sequences metadata tool_choice output_config
    output_format service_tier inference_geo speed anthropic_version anthropic_beta betas fallbacks container
    mcp_servers]],
  objects = {
    thinking = shape.object({ plain = "type budget_tokens display" }),
    cache_control = found.cache_control(),
    context_management = shape.object({
      lists = { edits = shape.object({ plain = "type keep trigger clear_at_least exclude_tools clear_tool_inputs",
        settle = settle_edit }) },
    }),
  },
  lists = { messages = message, system = content(), tools = tool },
  meant = {
    max_tokens_to_sample = "max_tokens", max_completion_tokens = "max_tokens", max_output_tokens = "max_tokens",
  },
})

anthropic.conversation = { "system", "messages" }

-- Fills `request` from the body.
function anthropic.read(body, text, request, self)
  request.model = value.string(body, text, "model")
  request.stream = value.boolean(body, text, "stream") or false
  -- 0 puts a prompt into the cache without an answer.
  request.max_output_tokens = value.count(body, text, "max_tokens", 0)
  value.check_list(body, text, "messages")
  value.check_list(body, text, "tools")
  local thinking = value.object(body, text, "thinking")
  request.thinking_tokens = thinking and value.budget(thinking, text, "budget_tokens")
  -- Between tool calls a model may think for more tokens than its answer may have.
  if request.max_output_tokens then
    request.max_output_tokens = value.larger(request.max_output_tokens, request.thinking_tokens)
  end

  local features = self.features
  features.tools = shape.filled(body, text, "tools")
  features.response_format = shape.span(body, text, "output_config") ~= nil
    or shape.span(body, text, "output_format") ~= nil
  features.thinking = thinking ~= nil and shape.text(thinking, text, "type") ~= "disabled"
  if shape.filled(body, text, "container") then features.stored_input = true end

  if found.note_given(self, body, text, OPTIONS) then features.server_tools = true end
  found.note_word(self, body, text, "service_tier", BASE_TIERS)
  found.note_word(self, body, text, "speed", BASE_SPEED)
  found.note_word(self, body, text, "inference_geo", BASE_GEOS)
end

return anthropic
